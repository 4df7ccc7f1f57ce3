"""How similar the strangers in the daemon's own rooms are to each protected person: counts, never an embedding."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from monitor.errors import GalleryError
from monitor.faces.face import Embedding
from monitor.gallery.calibration_file import replace_file
from monitor.gallery.calibration_fit import Observed
from monitor.gallery.embedding_blocks import side_by_side
from monitor.gallery.snapshot import GallerySnapshot

log = logging.getLogger(__name__)

FORMAT = "likeness-stranger-traffic"
FORMAT_VERSION = 1
BINS = 200
"""Of the cosine from -1 to 1."""

MOST_REFERENCES = 2000
"""Of larger galleries the identities first in order stand for all; the daemon's loop computes this."""

_SAVE_EVERY_S = 300.0

MOST_OF_IDENTITY = 10_000
"""Counts of an identity above which, when they are saved, all of its are halved: new traffic outweighs old."""

SAME_FACE = 0.5
"""Cosine from which two faces of one room are taken for one person's."""
_REMEMBERED_S = 3600.0
_MOST_REMEMBERED, _MOST_ROOMS = 8, 2000

Counts = NDArray[np.int64]
"""Shape (identities, BINS)."""


class StrangerTraffic:
    """A histogram for each identity. Belongs to the event loop.

    What is counted is one picture of each face that left without ever having been a candidate for anybody, and nothing
    of one that comes back within the hour, so that a host counts once however often the camera looks away. For that
    the faces of the last hour are remembered, in memory alone. Whoever came closer than the pack's candidate threshold
    may have been the person and is left out, so nothing is known above it: the fit extrapolates from below. A protected
    person who was on screen and never came that close is counted as a stranger; centre and spread are robust against a
    few of those.
    """

    def __init__(self, pack_digest: str, cut: float) -> None:
        self._pack_digest = pack_digest
        self._cut = cut
        self._cohort = _Cohort(GallerySnapshot.empty())
        self._rows: dict[str, int] = {}
        self._counts: Counts = np.zeros((0, BINS), np.int64)
        self._cohort_rows: NDArray[np.intp] = np.zeros(0, np.intp)
        self._changed = False
        self._recent: OrderedDict[str, deque[tuple[float, Embedding]]] = OrderedDict()

    @classmethod
    def load(cls, path: Path, pack_digest: str, cut: float) -> Self:
        """What was counted before; nothing where there is no file, or one of another pack.

        :param cut: the pack's candidate threshold.
        :raises GalleryError: the file is there and cannot be used; names the remedy.
        """
        traffic = cls(pack_digest, cut)
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            if document["format"] != FORMAT or document["format_version"] != FORMAT_VERSION:
                raise ValueError(f"format {document['format']!r} {document['format_version']!r}")
            if document["pack_digest"] == pack_digest:
                traffic._take(document)
            else:
                log.warning("stranger_traffic_of_another_pack file=%s consequence=counting_starts_anew", path)
        except FileNotFoundError:
            pass
        except (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as err:
            raise GalleryError(f"{path}: cannot be used: {err}; remove it, and counting starts anew") from err
        return traffic

    def observe(self, stranger: Embedding, gallery: GallerySnapshot, *, room: str, now: float) -> None:
        """Count one face that matched nobody against everybody, unless ``room`` showed it within the hour.

        :param stranger: shape (D,), L2-normalised.
        :param now: monotonic seconds.
        """
        if self._came_back(stranger, room, now):
            return
        if gallery is not self._cohort.gallery:
            self._adopt(gallery)
        similarities = self._cohort.similarities(stranger)
        counted = similarities < self._cut
        bins = np.clip(((similarities[counted] + 1) / 2 * BINS).astype(np.intp), 0, BINS - 1)
        self._counts[self._cohort_rows[counted], bins] += 1
        self._changed |= bool(counted.any())

    def observed(self) -> Observed:
        """What was counted, as similarities evenly spread within their bins."""
        by_identity = {
            identity_id: similarities
            for identity_id, row in self._rows.items()
            if len(similarities := _expanded(self._counts[row], self._cut))
        }
        strangers = np.concatenate([np.empty(0), *by_identity.values()])
        return Observed(strangers=strangers, matching=np.empty(0), by_identity=by_identity, cut=self._cut)

    async def keep(self, path: Path) -> None:
        """Save every few minutes, for ever; a save that fails is tried again with the next."""
        while True:
            await asyncio.sleep(_SAVE_EVERY_S)
            if self._changed:
                copy, self._changed = self._copy(), False
                self._changed |= not await asyncio.to_thread(_saved, path, *copy)

    def save(self, path: Path) -> None:
        """Write what was counted since the last time, if anything was."""
        if self._changed:
            self._changed = not _saved(path, *self._copy())

    def _came_back(self, stranger: Embedding, room: str, now: float) -> bool:
        recent = self._recent.pop(room, deque(maxlen=_MOST_REMEMBERED))
        self._recent[room] = recent
        if len(self._recent) > _MOST_ROOMS:
            self._recent.popitem(last=False)
        while recent and now - recent[0][0] > _REMEMBERED_S:
            recent.popleft()
        known = next((row for row, seen in enumerate(recent) if float(seen[1] @ stranger) >= SAME_FACE), None)
        if known is not None:
            del recent[known]
        recent.append((now, stranger))
        return known is not None

    def _adopt(self, gallery: GallerySnapshot) -> None:
        """Count for this gallery from now on; whoever left it is forgotten, who is new starts at nothing."""
        self._cohort = _Cohort(gallery)
        kept = [identity_id for identity_id in self._rows if identity_id in gallery.identities]
        names = list(dict.fromkeys([*kept, *self._cohort.identities]))
        counts = np.zeros((len(names), BINS), np.int64)
        counts[: len(kept)] = self._counts[[self._rows[identity_id] for identity_id in kept]]
        self._counts, self._rows = counts, {identity_id: row for row, identity_id in enumerate(names)}
        self._cohort_rows = np.array([self._rows[identity_id] for identity_id in self._cohort.identities], np.intp)

    def _copy(self) -> tuple[dict[str, Any], list[str], Counts]:
        """What another thread may write; halves what has grown too large."""
        self._counts[self._counts.sum(axis=1) > MOST_OF_IDENTITY] //= 2
        head = {"format": FORMAT, "format_version": FORMAT_VERSION, "pack_digest": self._pack_digest, "cut": self._cut}
        return head, list(self._rows), self._counts.copy()

    def _take(self, document: Mapping[str, Any]) -> None:
        self._cut = min(self._cut, float(document["cut"]))
        identities = document["identities"]
        self._counts = np.zeros((len(identities), BINS), np.int64)
        for row, (identity_id, bins) in enumerate(identities.items()):
            self._rows[str(identity_id)] = row
            for bin_, count in bins.items():
                if not 0 <= int(bin_) < BINS or not 0 <= int(count) < 2**48:
                    raise ValueError(f"{identity_id}: bin {bin_} holds {count}")
                self._counts[row, int(bin_)] = int(count)


class _Cohort:
    """References of one gallery snapshot as one matrix."""

    def __init__(self, gallery: GallerySnapshot) -> None:
        self.gallery = gallery
        used = gallery.references[:MOST_REFERENCES]
        owners = [reference.identity_id for reference in used]
        self._starts = [i for i, owner in enumerate(owners) if i == 0 or owners[i - 1] != owner]
        self.identities = [owners[start] for start in self._starts]
        self._references = side_by_side([reference.embedding for reference in used]) if used else None

    def similarities(self, probe: Embedding) -> NDArray[np.float32]:
        """The highest similarity over each identity's references, in the order of ``identities``."""
        if self._references is None:
            return np.empty(0, np.float32)
        # Not by BLAS: for so small a product its threads cost the loop more than they bring where cores are busy.
        cosines = np.einsum("ij,j->i", self._references, probe)
        highest: NDArray[np.float32] = np.maximum.reduceat(cosines, self._starts)
        return highest


def _saved(path: Path, head: Mapping[str, Any], names: Sequence[str], counts: Counts) -> bool:
    identities = {
        identity_id: {str(bin_): int(row[bin_]) for bin_ in np.flatnonzero(row)}
        for identity_id, row in sorted(zip(names, counts, strict=True), key=lambda pair: pair[0])
    }
    try:
        replace_file(path, json.dumps({**head, "identities": identities}, ensure_ascii=False) + "\n")
    except GalleryError as err:
        log.error("stranger_traffic_not_saved detail=%s", err)
        return False
    return True


def _expanded(counts: NDArray[np.int64], cut: float) -> NDArray[np.float64]:
    width = 2 / BINS
    spread = [-1 + width * (bin_ + (np.arange(counts[bin_]) + 0.5) / counts[bin_]) for bin_ in np.flatnonzero(counts)]
    values: NDArray[np.float64] = np.concatenate([np.empty(0), *spread])
    return values[values < cut]
