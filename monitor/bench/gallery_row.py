"""What the gallery bench found out, and which aims that meets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

MOST_P99_MS = 25.0
LEAST_RECALL = 0.999
MOST_LOOP_LAG_MS = 50.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Searches:
    """What searching took, a probe."""

    p50_ms: float
    p99_ms: float
    """The highest where there were fewer than a hundred searches."""
    cpu_ms: float
    """Mean processor time; the same however much else runs on the machine."""
    count: int
    """Searches that were measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recall:
    """Shares of probes whose first reference is as near as the nearest that exact search finds."""

    all: float
    mated: float
    """Of the probes whose identity is in the gallery alone."""
    best_identity: float
    """Of those, the share for which the identity is the exact search's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One reference in a hundred removed and as many added, while another thread searches without a pause."""

    seconds: float
    """From the list of references to the snapshot in use."""
    searches: int
    """Answered meanwhile."""
    dropped: int
    """Searches that failed, or whose answer was not of the snapshot that was asked."""
    worst_ms: float
    """The longest search meanwhile."""
    loop_lag_ms: float
    """The most by which an event loop woke a sleeper too late, while the change was made in a thread beside it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """The database, from which a restart takes the embeddings; the index is not stored but built."""

    references: int
    """On which this was measured."""
    save_ms: float
    """A reference, each in a transaction of its own, as enrolment does it."""
    load_ms: float
    """A reference, all at once, as a start does it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GalleryRow:
    """One index over one number of references, asked in batches of one size."""

    references: int
    dimension: int
    index: str
    is_chosen: bool
    """Whether the daemon takes this index for so many references."""
    batch: int
    searches: Searches
    recall: Recall
    nbytes: int
    """What the index holds beside the embeddings themselves."""
    build_s: float
    resident_bytes: int
    """What the references with their embeddings hold, their pictures left out."""
    change: Change | None
    """Of the chosen index."""
    stored: Stored | None
    """Of the chosen index."""

    def to_dict(self) -> dict[str, Any]:
        """The row that ``--json`` prints."""
        row: dict[str, Any] = {
            "references": self.references,
            "dimension": self.dimension,
            "index": self.index,
            "chosen": self.is_chosen,
            "batch": self.batch,
            "p50_ms": round(self.searches.p50_ms, 4),
            "p99_ms": round(self.searches.p99_ms, 4),
            "cpu_ms": round(self.searches.cpu_ms, 4),
            "searches": self.searches.count,
            "recall_at_1": round(self.recall.all, 6),
            "recall_at_1_mated": round(self.recall.mated, 6),
            "best_identity_mated": round(self.recall.best_identity, 6),
            "bytes": self.nbytes,
            "build_s": round(self.build_s, 6),
            "resident_bytes": self.resident_bytes,
        }
        if self.change is not None:
            row["change"] = {
                "seconds": round(self.change.seconds, 3),
                "searches": self.change.searches,
                "dropped": self.change.dropped,
                "worst_ms": round(self.change.worst_ms, 2),
                "loop_lag_ms": round(self.change.loop_lag_ms, 2),
            }
        if self.stored is not None:
            row["stored"] = {
                "references": self.stored.references,
                "save_ms": round(self.stored.save_ms, 4),
                "load_ms": round(self.stored.load_ms, 4),
            }
        return row

    def missed(self) -> list[str]:
        """The aims that this row misses, in words."""
        said = []
        if self.searches.p99_ms >= MOST_P99_MS:
            said.append(f"p99 above {MOST_P99_MS:g} ms")
        if self.recall.all < LEAST_RECALL:
            said.append(f"recall below {LEAST_RECALL:g}")
        if self.recall.mated < LEAST_RECALL:
            said.append(f"mated recall below {LEAST_RECALL:g}")
        if self.change is not None and self.change.dropped:
            said.append("searches dropped")
        if self.change is not None and self.change.loop_lag_ms >= MOST_LOOP_LAG_MS:
            said.append(f"event loop held up for {MOST_LOOP_LAG_MS:g} ms")
        return said
