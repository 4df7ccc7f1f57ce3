"""What a search in a gallery costs, and how often it finds what exact search finds, by the number of references.

One process and one thread, as in the daemon. Exact search over float32 embeddings is measured beside the index that
the daemon chooses and says what is right. The faces are made, always the same: :mod:`monitor.bench.gallery_faces`.
"""

from __future__ import annotations

import gc
import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import psutil
from numpy.typing import NDArray

from monitor.bench.gallery_change import measure_change
from monitor.bench.gallery_faces import Crowd, make_crowd
from monitor.bench.gallery_row import Change, GalleryRow, Recall, Searches, Stored
from monitor.bench.gallery_store import measure_store
from monitor.errors import MonitorError
from monitor.gallery.exact_index import ExactIndex
from monitor.gallery.identity import Reference
from monitor.gallery.index import ReferenceIndex

Progress = Callable[[str, int, int], None]
"""What is being done, how much of it is, and how much there is."""

BATCH = 64
_DEPTH = 6
"""What the matcher asks for where an identity has five photos."""
_BYTES_A_COMPONENT = 9
"""Most memory of a run for each number of each embedding: the embeddings, the exact index while it grows, a change."""
_BYTES_A_REFERENCE = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is measured."""

    sizes: tuple[int, ...]
    dimension: int = 512
    probes: int
    """A multiple of ``BATCH``; half of them of strangers."""
    singles: int
    """Of them asked one by one."""
    stored: int
    """Most references that are written to a database and read again."""


QUICK = Plan(sizes=(1_000, 100_000), probes=16 * BATCH, singles=100, stored=1_000)
FULL = Plan(sizes=(1_000, 100_000, 1_000_000), probes=32 * BATCH, singles=100, stored=100_000)


class Index(Protocol):
    """What is searched."""

    @property
    def kind(self) -> str: ...

    @property
    def nbytes(self) -> int: ...

    def search(self, probes: NDArray[np.float32], depth: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]: ...


def measure(folder: Path, *, plan: Plan, progress: Progress | None = None) -> list[GalleryRow]:
    """Measure every size in turn.

    :param folder: for databases; of no use afterwards.
    :raises MonitorError: the machine has not the memory; nothing was measured then.
    """
    needed = max(plan.sizes) * (plan.dimension * _BYTES_A_COMPONENT + _BYTES_A_REFERENCE)
    free = psutil.virtual_memory().available
    if needed > free:
        raise MonitorError(
            f"bench: {max(plan.sizes):,} references need {needed / 2**30:.0f} GiB and {free / 2**30:.0f} GiB are free; "
            "close what else runs, or use --quick"
        )
    rows = []
    for number, count in enumerate(plan.sizes):
        size = _Size(plan=plan, count=count, folder=folder / str(number), progress=progress or (lambda *_: None))
        rows += size.measure()
    return rows


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answers:
    """What one index said to all probes, and what that took."""

    build_s: float
    nbytes: int
    kind: str
    cosines: NDArray[np.float32]
    """Shape (n,): of the first reference."""
    rows: NDArray[np.int64]
    """Shape (n,): the first reference."""
    single: Searches
    batched: Searches


@dataclass(frozen=True, slots=True, kw_only=True)
class _Size:
    """One number of references."""

    plan: Plan
    count: int
    folder: Path
    progress: Progress

    def measure(self) -> list[GalleryRow]:
        before = _resident()
        crowd, references = self._crowd()
        resident = _resident() - before
        exact = self._ask(crowd, ExactIndex)
        chosen = self._ask(crowd, ReferenceIndex)
        self._say("stored", 0)
        stored = measure_store(self.folder, references[: self.plan.stored])
        self._say("changed", 0)
        change = measure_change(references, crowd.probes[crowd.is_mated][: self.plan.singles])
        answers = [chosen] if chosen.kind == exact.kind else [exact, chosen]
        return [
            row
            for one in answers
            for row in _rows(
                one,
                crowd,
                exact,
                resident=resident,
                change=change if one is chosen else None,
                stored=stored if one is chosen else None,
            )
        ]

    def _crowd(self) -> tuple[Crowd, list[Reference]]:
        done = 0

        def more(count: int) -> None:
            nonlocal done
            done += count
            self._say("made", done, self.count)

        crowd = make_crowd(self.count, self.plan.dimension, self.plan.probes, progress=more)
        return crowd, _references(crowd)

    def _ask(self, crowd: Crowd, kind: Callable[[Sequence[NDArray[np.float32]]], Index]) -> _Answers:
        self._say("indexed", 0)
        started = time.perf_counter()
        index = kind(crowd.embeddings)
        build_s = time.perf_counter() - started
        index.search(crowd.probes[:1], _DEPTH)
        singles = _timed(
            index, crowd.probes[: self.plan.singles], 1, lambda done: self._say(f"{index.kind}, single", done)
        )
        batches = _timed(index, crowd.probes, BATCH, lambda done: self._say(f"{index.kind}, batches", done))
        return _Answers(
            build_s=build_s,
            nbytes=index.nbytes,
            kind=index.kind,
            cosines=batches.cosines,
            rows=batches.rows,
            single=singles.searches,
            batched=batches.searches,
        )

    def _say(self, what: str, done: int, total: int | None = None) -> None:
        self.progress(f"{self.count:,} references: {what}", done, self.plan.probes if total is None else total)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Timed:
    searches: Searches
    cosines: NDArray[np.float32]
    rows: NDArray[np.int64]


def _timed(index: Index, probes: NDArray[np.float32], batch: int, progress: Callable[[int], None]) -> _Timed:
    took, cosines, rows = [], [], []
    # A collection of a million objects is no part of a search.
    gc.collect()
    gc.disable()
    cpu_s = time.process_time()
    try:
        for first in range(0, len(probes), batch):
            started = time.perf_counter()
            found, at = index.search(probes[first : first + batch], _DEPTH)
            took.append((time.perf_counter() - started) / batch)
            cosines.append(found[:, 0])
            rows.append(at[:, 0])
            progress(first + batch)
    finally:
        gc.enable()
    cpu_ms = 1000 * (time.process_time() - cpu_s) / len(probes)
    p50, p99 = np.percentile(took, [50, 99], method="higher") * 1000
    return _Timed(
        searches=Searches(p50_ms=float(p50), p99_ms=float(p99), cpu_ms=cpu_ms, count=len(took)),
        cosines=np.concatenate(cosines),
        rows=np.concatenate(rows),
    )


def _recall(answers: _Answers, crowd: Crowd, exact: _Answers) -> Recall:
    # Of two references that are equally near either is right; sums in another order differ by less than this.
    right = answers.cosines >= exact.cosines - 1e-5
    same_person = crowd.owners[answers.rows] == crowd.owners[exact.rows]
    mated = crowd.is_mated
    return Recall(
        all=float(right.mean()), mated=float(right[mated].mean()), best_identity=float(same_person[mated].mean())
    )


def _rows(
    answers: _Answers,
    crowd: Crowd,
    exact: _Answers,
    *,
    resident: int,
    change: Change | None,
    stored: Stored | None,
) -> list[GalleryRow]:
    return [
        GalleryRow(
            references=len(crowd.embeddings),
            dimension=crowd.probes.shape[1],
            index=answers.kind,
            is_chosen=change is not None,
            batch=batch,
            searches=searches,
            recall=_recall(answers, crowd, exact),
            nbytes=answers.nbytes,
            build_s=answers.build_s,
            resident_bytes=resident,
            change=change,
            stored=stored,
        )
        for batch, searches in ((1, answers.single), (BATCH, answers.batched))
    ]


def _references(crowd: Crowd) -> list[Reference]:
    return [
        Reference(
            identity_id=f"p{owner:06}",
            photo=f"{number}.jpg",
            photo_sha256=hashlib.sha256(str(number).encode()).hexdigest(),
            pack_digest="bench",
            embedding=embedding,
            crop_jpeg=b"",
            face_height_px=200.0,
        )
        for number, (owner, embedding) in enumerate(zip(crowd.owners.tolist(), crowd.embeddings, strict=True))
    ]


def _resident() -> int:
    gc.collect()
    return int(psutil.Process().memory_info().rss)
