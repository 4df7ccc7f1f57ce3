"""Options that several commands share."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

DEFAULT_CONFIG = Path("config/monitor.yaml")


def add_config_option(parser: argparse.ArgumentParser) -> None:
    """``--config FILE``."""
    parser.add_argument(
        "--config",
        type=Path,
        default=DEFAULT_CONFIG,
        metavar="FILE",
        help=f"settings file (default: {DEFAULT_CONFIG})",
    )


def add_json_option(parser: argparse.ArgumentParser) -> None:
    """``--json``."""
    parser.add_argument("--json", action="store_true", help="print one JSON object, for machines")


def add_cache_option(parser: argparse.ArgumentParser) -> None:
    """``--cache-dir DIR``, by default where the XDG base directory specification puts caches."""
    parser.add_argument(
        "--cache-dir",
        type=Path,
        default=Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "likeness-monitor",
        metavar="DIR",
        help="for clips and prepared networks (default: %(default)s)",
    )
