"""How ``monitor bench gallery`` shows its progress and its figures."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from monitor.bench import gallery_row as aims
from monitor.bench.gallery_row import GalleryRow
from monitor.bench.machine import describe


@contextmanager
def bar() -> Iterator[Callable[[str, int, int], None] | None]:
    """A bar on a terminal for the step that is under way; none where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("")

        def show(what: str, done: int, total: int) -> None:
            progress.update(task, description=what, completed=done, total=total)

        yield show


def show(rows: Sequence[GalleryRow]) -> None:
    """Print the figures of searching, and below them those of keeping and changing a gallery of each size."""
    console = Console()
    table = Table(
        title="one search, on one thread", caption=describe(), caption_justify="left", box=None, pad_edge=False
    )
    for name in ("references", "index", "batch", "p50 ms", "p99 ms", "CPU", "recall", "mated", "MB", "build s"):
        table.add_column(name, justify="left" if name == "index" else "right", no_wrap=True)
    for row in rows:
        table.add_row(
            f"{row.references:,}",
            row.index + (" *" if row.is_chosen else ""),
            str(row.batch),
            f"{row.searches.p50_ms:.2f}",
            f"{row.searches.p99_ms:.2f}",
            f"{row.searches.cpu_ms:.2f}",
            f"{row.recall.all:.4f}",
            f"{row.recall.mated:.4f}",
            f"{row.nbytes / 1e6:,.0f}",
            f"{row.build_s:.1f}",
        )
    console.print(table)
    console.print(
        f"Times are a probe's. * what the daemon takes for so many. Aims: p99 under {aims.MOST_P99_MS:g} ms, recall@1 "
        f"against exact search at least {aims.LEAST_RECALL:g}, of all probes and of the mated alone; no search "
        f"dropped and the event loop held up for less than {aims.MOST_LOOP_LAG_MS:g} ms by a change."
    )
    for row in rows:
        if row.is_chosen and (missed := row.missed()):
            console.print(f"Missed with {row.references:,} in batches of {row.batch}: {', '.join(missed)}.")
    for row in rows:
        if row.change is not None and row.stored is not None and row.batch == 1:
            console.print(_kept(row))


def _kept(row: GalleryRow) -> str:
    assert row.change is not None
    assert row.stored is not None
    change, stored = row.change, row.stored
    return (
        f"{row.references:,}: the references hold {row.resident_bytes / 1e6:,.0f} MB without their pictures; the "
        f"database saves one in {stored.save_ms:.2f} ms and loads one in {stored.load_ms:.3f} ms; a change of 1 in 100 "
        f"is in use after {change.seconds:.2f} s, of {change.searches:,} searches meanwhile {change.dropped} were "
        f"dropped and the longest took {change.worst_ms:.1f} ms; the event loop was held up for at most "
        f"{change.loop_lag_ms:.1f} ms."
    )
