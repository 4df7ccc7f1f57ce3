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
    console.print(
        f"Aims: at most {aims.MOST_OF_FLOOR:g} x the floor; with openvino at least {aims.LEAST_TIMES_OPENCV:g} x "
        f"faster than OpenCV; cosine at least {exact:g}, in float16 and bfloat16 {reduced:g}."
    )


def _table(rows: Sequence[FacesRow]) -> Table:
    table = Table(title="faces in 720p pictures: ms of one core", caption=describe(), caption_justify="left")
    for name in ("provider", "ms a picture\nours", "\nfloor", "InsightFace\none by one", "\nOpenCV"):
        table.add_column(name, justify="left" if name == "provider" else "right")
    for name in ("ms a further face\nours", "\nfloor", "InsightFace\none by one", "\nOpenCV"):
        table.add_column(name, justify="right")
    for name in (
        "pictures/s\na core",
        "ours /\nfloor",
        "OpenCV /\nours",
        "p99\nms",
        "all workers\npictures/s",
        "p99\nms",
        "least\ncosine",
        "aims",
    ):
        table.add_column(name, justify="left" if name == "aims" else "right")
    for row in rows:
        costs: Sequence[FaceCost] = (row.ours, row.floor, row.one_by_one, row.opencv)
        table.add_row(
            f"{row.provider}\n{row.precision}",
            *(f"{cost.frame:.1f}" for cost in costs),
            *(f"{cost.face:.1f}" for cost in costs),
            f"{1000 / row.ours.frame:.0f}",
            f"{row.ours.frame / row.floor.frame:.2f}",
            f"{row.opencv.frame / row.ours.frame:.1f}",
            f"{row.p99_ms:.1f}",
            f"{row.pool.workers}: {row.pool.frames_per_s:.0f}",
            f"{row.pool.p99_ms:.0f}",
            f"{row.min_cosine:.5f}",
            "\n".join(row.missed()) or "met",
        )
    return table
