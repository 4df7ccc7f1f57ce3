"""The table of ``monitor bench faces``."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from monitor.bench import faces_row as aims
from monitor.bench.faces_row import FaceCost, FacesRow
from monitor.bench.machine import describe


def print_faces(rows: Sequence[FacesRow]) -> None:
    """Print them, and what the aims are."""
    exact, reduced = aims.LEAST_COSINE["float32"], aims.LEAST_COSINE["bfloat16"]
    console = Console()
    console.print(_table(rows))
    for row in rows:
        console.print(_sentence(row))
    console.print(
        f"Aims: at most {aims.MOST_OF_FLOOR:g} x the floor; with openvino at least {aims.LEAST_TIMES_OPENCV:g} x "
        f"faster than OpenCV; cosine at least {exact:g}, in float16 and bfloat16 {reduced:g}."
    )


def _table(rows: Sequence[FacesRow]) -> Table:
    table = Table(title="faces in 720p pictures: ms of one core", caption=describe(), caption_justify="left")
    for name in ("provider", "ms for"):
        table.add_column(name)
    for name in ("ours", "floor", "Insight\nFace", "OpenCV", "ours /\nfloor", "OpenCV\n/ ours"):
        table.add_column(name, justify="right")
    for row in rows:
        for what in ("frame", "face"):
            ours, floor, one_by_one, opencv = (_ms(cost, what) for cost in row.costs)
            table.add_row(
                *((row.provider, "picture") if what == "frame" else (row.precision, "next face")),
                *(f"{ms:.1f}" for ms in (ours, floor, one_by_one, opencv)),
                f"{ours / floor:.2f}",
                f"{opencv / ours:.1f}",
            )
    return table


def _ms(cost: FaceCost, what: str) -> float:
    return cost.frame if what == "frame" else cost.face


def _sentence(row: FacesRow) -> str:
    pool, how = row.pool, "one process runs their networks" if row.pool.shared else "each with networks of its own"
    return (
        f"{row.provider}: {1000 / row.ours.frame:.0f} pictures/s on one core, p99 {row.p99_ms:.1f} ms. Keyframes, "
        f"decoded too, by {pool.workers} workers ({how}): {pool.frames_per_s:.0f}/s, p99 {pool.p99_ms:.0f} ms. "
        f"Least cosine {row.min_cosine:.5f}. Aims: {'; '.join(row.missed()) or 'met'}."
    )
