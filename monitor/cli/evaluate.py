"""``monitor evaluate``: how surely protected people are found again, as they are and under transformations."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from monitor.cli.options import DEFAULT_CONFIG, add_json_option

if TYPE_CHECKING:
    from monitor.config import MonitorConfig
    from monitor.evaluation.bounds import Rate
    from monitor.evaluation.measure import Order
    from monitor.evaluation.outcome import Evaluation

_QUICK_IDENTITIES = 10
_QUICK_PROBES = 2


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = subparsers.add_parser("evaluate", help="measure how surely people are found", description=__doc__)
    parser.add_argument(
        "folder",
        nargs="?",
        type=Path,
        metavar="FOLDER",
        help="identities as folders of photos (default: the faces that ship)",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("evaluation.html"), metavar="FILE", help="the report (default: %(default)s)"
    )
    parser.add_argument("--quick", action="store_true", help="few people and transformations: within a minute")
    parser.add_argument(
        "--transformations", metavar="A,B", help="only these; a name that does not exist lists those that do"
    )
    parser.add_argument(
        "--enrol", type=_count, default=1, metavar="N", help="photos enrolled of each identity (default: 1)"
    )
    parser.add_argument(
        "--probes",
        type=_count,
        default=12,
        metavar="N",
        help="most photos of enrolled people, and half as many of others, that are made into clips (default: 12)",
    )
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help=f"settings file (default: {DEFAULT_CONFIG} if it is there)"
    )
    add_json_option(parser)


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 100_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed: 1 to 100000")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Measure, write the report, and print."""
    from monitor.config import load_config
    from monitor.evaluation.report import write_report

    config = load_config(args.config or (DEFAULT_CONFIG if DEFAULT_CONFIG.exists() else None), os.environ)
    _refuse_unwritable(args.out)
    evaluation = asyncio.run(_evaluated(_order(args), config))
    write_report(args.out, evaluation)
    for skipped in evaluation.skipped:
        print(f"monitor: not tried: {skipped.what}: {skipped.why}", file=sys.stderr)
    if args.json:
        print(json.dumps({**evaluation.to_dict(), "report": str(args.out)}, ensure_ascii=False))
    else:
        _print(evaluation)
        print(f"report: {args.out.resolve()}")
    return 0


def _refuse_unwritable(out: Path) -> None:
    """Say so before minutes of measuring."""
    from monitor.errors import MonitorError

    if out.is_dir() or not out.parent.is_dir() or not os.access(out.parent, os.W_OK):
        raise MonitorError(f"{out}: the report cannot be written there; --out FILE names another place")


def _order(args: argparse.Namespace) -> Order:
    from monitor.evaluation.album import read_album, shipped_album
    from monitor.evaluation.catalogue import QUICK, TRANSFORMATIONS, chosen
    from monitor.evaluation.measure import Order

    names = QUICK if args.quick else tuple(TRANSFORMATIONS)
    if args.transformations is not None:
        names = tuple(name.strip() for name in args.transformations.split(",") if name.strip())
    return Order(
        source="the faces that ship" if args.folder is None else str(args.folder),
        transformations=chosen(names),
        album=shipped_album() if args.folder is None else read_album(args.folder),
        enrol=args.enrol,
        probes=min(args.probes, _QUICK_PROBES) if args.quick else args.probes,
        most_identities=_QUICK_IDENTITIES if args.quick else None,
    )


async def _evaluated(order: Order, config: MonitorConfig) -> Evaluation:
    from prometheus_client import CollectorRegistry

    from monitor.evaluation.measure import Evaluator
    from monitor.faces.metrics import FacesMetrics
    from monitor.faces.pool import VisionPool

    async with AsyncExitStack() as stack:
        workspace = stack.enter_context(tempfile.TemporaryDirectory(prefix="monitor-evaluate-"))
        progress = stack.enter_context(_Bar())
        pool = VisionPool(config.faces, FacesMetrics(CollectorRegistry()))
        stack.push_async_callback(pool.aclose)
        await pool.start()
        evaluator = Evaluator(
            pool,
            faces=config.faces,
            gallery=config.gallery,
            sightings=config.sightings,
            workspace=Path(workspace),
            progress=progress.show,
        )
        return await evaluator.run(order)


class _Bar:
    """A progress bar on a terminal's stderr; nothing elsewhere."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.description:.40}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._progress = Progress(
            *columns, console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True
        )
        self._task = self._progress.add_task("starting", total=None)

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, what: str, done: int, total: int) -> None:
        """As :data:`monitor.evaluation.measure.Progress`."""
        self._progress.update(self._task, description=what, completed=done, total=total)


def _print(evaluation: Evaluation) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    threshold = evaluation.pack.similarity_threshold
    found, false = evaluation.searches.tpir(threshold), evaluation.searches.fpir(threshold)
    table = Table(title=f"{evaluation.source}: clips found (95 % bounds)", caption=evaluation.machine, box=SIMPLE_HEAD)
    for name in ("transformation", "clips", "bounds", "frames", "median\nsimilarity", "false\nsightings", "missed"):
        left = name in ("transformation", "missed")
        table.add_column(name, justify="left" if left else "right", no_wrap=name != "missed")
    for row in evaluation.rows:
        low, high = row.clips.bounds
        table.add_row(
            row.transformation.name,
            _of(row.clips),
            f"{low:.2f}-{high:.2f}",
            _of(row.frames),
            "" if row.median_similarity is None else f"{row.median_similarity:.2f}",
            _of(row.false_sightings),
            ", ".join(f"{reason} {count}" for reason, count in row.why.items()),
            style="" if row.clips.hits == row.clips.trials else "red",
        )
    console = Console()
    console.print(table)
    console.print(
        f"Photos as they are, similarity {threshold:.3f}: TPIR {_bounded(found)}; FPIR {_bounded(false)}.",
        highlight=False,
    )


def _of(rate: Rate) -> str:
    return f"{rate.hits}/{rate.trials}"


def _bounded(rate: Rate) -> str:
    low, high = rate.bounds
    return f"{_of(rate)} ({low:.3f} to {high:.3f})"
