"""``monitor scan``: looks for protected people in video files, images, folders and addresses."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from monitor.cli.options import DEFAULT_CONFIG, add_json_option

EXIT_UNREADABLE = 2


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser("scan", help="look for protected people", description=__doc__)
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="video file, image, folder or address")
    parser.add_argument("--gallery", type=Path, metavar="DIR", help="folder of identities (default: gallery.folder)")
    parser.add_argument("--platform", metavar="P", help="with --account: say what the permissions of it allow")
    parser.add_argument("--account", metavar="A")
    parser.add_argument(
        "--interval", type=_seconds, default=0.5, metavar="S", help="seconds between looked-at pictures (default: 0.5)"
    )
    parser.add_argument(
        "--seconds", type=_seconds, default=60.0, metavar="S", help="how long an address is watched (default: 60)"
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help=f"settings file (default: {DEFAULT_CONFIG}, if any)")
    add_json_option(parser)
    parser.set_defaults(parser=parser)


def _seconds(text: str) -> float:
    value = float(text)
    if not 0.1 <= value <= 86_400:
        raise argparse.ArgumentTypeError(f"{text}: must be 0.1 to 86400 seconds")
    return value


def run(args: argparse.Namespace) -> int:
    if (args.platform is None) != (args.account is None):
        args.parser.error("--platform and --account go together")
    return asyncio.run(_scan(args))
