"""``monitor bench latency``: measures on this machine; nothing leaves loopback."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from monitor.cli.options import add_cache_option, add_json_option

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from monitor.bench.latency import LatencyRow

_KINDS = ("rtmp", "http-flv", "hls")
_QUICK_ROOMS = 5
_ROOMS = 20


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = subparsers.add_parser("bench", help="measure how long an alert takes", description=__doc__)
    benches = parser.add_subparsers(dest="bench", metavar="BENCH", required=True)
    line = "seconds from the first picture with a protected face to the delivered webhook, over live rooms on loopback"
    latency = benches.add_parser("latency", help=line, description=line[0].upper() + line[1:] + ".")
    latency.add_argument("--quick", action="store_true", help=f"{_QUICK_ROOMS} rooms of each kind instead of {_ROOMS}")
    latency.add_argument("--kind", choices=_KINDS, action="append", help="only this kind; may be repeated")
    add_cache_option(latency)
    add_json_option(latency)


def run(args: argparse.Namespace) -> int:
    """Measure and print."""
    from monitor.bench.latency import measure

    rooms = _QUICK_ROOMS if args.quick else _ROOMS
    with tempfile.TemporaryDirectory(prefix="monitor-bench-") as folder:
        rows = asyncio.run(
            measure(
                Path(folder), cache_dir=args.cache_dir, rooms=rooms, kinds=args.kind or _KINDS, progress=_progress()
            )
        )
    if args.json:
        print(json.dumps({"rows": [row.to_dict() for row in rows]}))
    else:
        _print(rows)
    return 0


def _progress() -> Callable[[str, int, int], None] | None:
    """A line on a terminal that counts the alerts."""
    if not sys.stderr.isatty():
        return None
    return lambda kind, done, total: print(f"\r{kind}: {done}/{total} alerts ", end="", file=sys.stderr, flush=True)


def _print(rows: Sequence[LatencyRow]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("kind", "rooms", "p50 s", "p95 s", "aim p95 s", "", title="first picture with the face -> webhook")
    for row in rows:
        met = "met" if row.p95_s < row.aim_p95_s else "missed"
        figures = (f"{row.p50_s:.2f}", f"{row.p95_s:.2f}", f"{row.aim_p95_s:g}")
        table.add_row(row.kind, str(len(row.seconds)), *figures, met)
    Console().print(table)
