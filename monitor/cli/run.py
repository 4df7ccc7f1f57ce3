"""``monitor run``: the daemon, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import resource

from monitor.cli.options import add_config_option

_OPEN_FILES = 65_536


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = subparsers.add_parser("run", help="start the daemon", description=__doc__)
    add_config_option(parser)
    parser.add_argument(
        "--log-level", choices=["debug", "info", "warning", "error"], default="info", help="default: info"
    )


def run(args: argparse.Namespace) -> int:
    """Watch until SIGTERM or Ctrl-C, which is how a daemon is meant to end: 0."""
    from monitor.config import load_config
    from monitor.daemon import run_until_signal
    from monitor.streams.catalogue import load_streams

    logging.basicConfig(
        level=args.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s", force=True
    )
    config = load_config(args.config, os.environ)
    streams = load_streams(config.streams_file)
    _allow_open_files()
    asyncio.run(run_until_signal(config, streams))
    return 0


def _allow_open_files() -> None:
    """Raise the soft limit as far as the system lets us: its usual 1,024 end at some hundred rooms."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
