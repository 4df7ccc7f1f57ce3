"""``monitor demo``: publishes four live rooms on this machine and watches them with the real daemon."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from monitor.cli.options import add_cache_option, add_json_option

if TYPE_CHECKING:
    from rich.console import Group

    from monitor.demo.session import DemoSession, RoomRow

EXIT_WRONG = 1
EXIT_INTERRUPTED = 130

_REFRESH_S = 0.5
_STYLES = {"violation": "bold red", "permitted": "green", "nothing": "default"}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = subparsers.add_parser("demo", help="publish four rooms and watch them", description=__doc__)
    parser.add_argument(
        "--once", action="store_true", help="end when every room has its verdict; exit code 0 if all four are right"
    )
    parser.add_argument(
        "--timeout", type=float, default=60.0, metavar="S", help="with --once: give up after so long (default: 60)"
    )
    add_cache_option(parser)
    add_json_option(parser)


def run(args: argparse.Namespace) -> int:
    """Run it until it is decided, or until Ctrl-C."""
    with tempfile.TemporaryDirectory(prefix="monitor-demo-") as folder:
        logging.basicConfig(
            filename=Path(folder) / "daemon.log", level="INFO", format="%(asctime)s %(levelname)s %(message)s"
        )
        return asyncio.run(_demo(args, Path(folder)))


async def _demo(args: argparse.Namespace, folder: Path) -> int:
    from monitor.demo.session import running_demo

    task = asyncio.current_task()
    assert task is not None, "a coroutine runs in a task"
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        _note("making the four rooms' clips (a few seconds the first time) ...")
        async with running_demo(
            folder, cache_dir=args.cache_dir, progress=lambda done, total, name: _note(f"  {done}/{total} {name}")
        ) as demo:
            _note(f"page {demo.url}/   metrics {demo.url}/metrics   log {folder / 'daemon.log'}")
            if args.once:
                return _print_rows(await demo.decided(args.timeout), args)
            await _show(demo, args)
    except asyncio.CancelledError:
        _note("stopped")
        return EXIT_INTERRUPTED if args.once else 0
    return 0


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _print_rows(rows: list[RoomRow], args: argparse.Namespace) -> int:
    for row in rows:
        print(json.dumps(row.to_dict()) if args.json else _line(row), flush=True)
    return 0 if all(row.verdict == row.room.expected for row in rows) else EXIT_WRONG


def _line(row: RoomRow) -> str:
    told = "" if row.seconds_to_alert is None else f", alert after {row.seconds_to_alert:.1f} s"
    shown = "-" if row.similarity is None else f"{row.similarity:.2f}"
    return f"{row.room.name}: {row.verdict or 'undecided'} (expected {row.room.expected}), similarity {shown}{told}"


async def _show(demo: DemoSession, args: argparse.Namespace) -> None:
    """The live table on a terminal; elsewhere a line for each room whose verdict changed. Ends when cancelled."""
    if args.json or not sys.stdout.isatty():
        said: dict[str, object] = {}
        while True:
            for row in demo.rows():
                if said.get(row.room.name) != row.verdict:
                    said[row.room.name] = row.verdict
                    print(json.dumps(row.to_dict()) if args.json else _line(row), flush=True)
            await asyncio.sleep(_REFRESH_S)
    from rich.live import Live

    with Live(_screen(demo), auto_refresh=False) as live:
        while True:
            await asyncio.sleep(_REFRESH_S)
            live.update(_screen(demo), refresh=True)


def _screen(demo: DemoSession) -> Group:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table("room", "account", "state", "fps", "faces", "similarity", "verdict", "alert", title="live rooms")
    for row in demo.rows():
        status, look = row.status, row.look
        table.add_row(
            row.room.name,
            row.room.account,
            status.state if status else "starting",
            f"{status.sampled_per_s:.1f}" if status else "",
            str(look.faces) if look else "",
            "" if row.similarity is None else f"{row.similarity:.2f}",
            Text(row.verdict or "...", style=_STYLES.get(row.verdict or "", "dim")),
            "" if row.seconds_to_alert is None else f"after {row.seconds_to_alert:.1f} s",
        )
    alerts = [Text(f"ALERT {one.transition}: {one.summary}", style="red") for one in demo.alerts[-5:]]
    where = Text(f"page {demo.url}/   metrics {demo.url}/metrics   Ctrl-C ends it", style="dim")
    return Group(table, *alerts, where)
