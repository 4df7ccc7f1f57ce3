"""A gallery that changes while it is searched."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import date
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from monitor.bench.gallery_row import Change
from monitor.gallery.identity import Consent, Identity, Reference
from monitor.gallery.long_sequence import LongSequence
from monitor.gallery.snapshot import GallerySnapshot

_ONE_IN = 100
"""References that are exchanged."""
_LAG_PROBE_S = 0.002


def measure_change(references: Sequence[Reference], probes: NDArray[np.float32]) -> Change:
    """Put a changed list of references to use, in a thread as the daemon does, while another thread searches.

    :param references: sorted by identity.
    :param probes: shape (n, D), of people in the gallery.
    """
    reader = _Reader(_snapshot(references, _identities(references)), probes)
    exchanged = [
        replace(one, identity_id=f"new-{one.identity_id}", embedding=one.embedding.copy())
        for one in references[::_ONE_IN]
    ]
    changed = LongSequence(chain((one for number, one in enumerate(references) if number % _ONE_IN), exchanged))
    # Who stays is the same object: the daemon reads an identity.yaml again only when it changed.
    identities = {**reader.snapshot.identities, **_identities(exchanged)}
    return asyncio.run(_exchange(reader, lambda: _snapshot(changed, identities, reader.snapshot)))


async def _exchange(reader: _Reader, build: Callable[[], GallerySnapshot]) -> Change:
    # What the bench made until now is no part of a change.
    gc.collect()
    probe = asyncio.create_task(_loop_lag())
    reader.start()
    try:
        started = time.perf_counter()
        reader.snapshot = await asyncio.to_thread(build)
        seconds = time.perf_counter() - started
    finally:
        searches, dropped, worst_s = await asyncio.to_thread(reader.stop)
        probe.cancel()
    lag_s = await probe
    return Change(
        seconds=seconds, searches=searches, dropped=dropped, worst_ms=1000 * worst_s, loop_lag_ms=1000 * lag_s
    )


async def _loop_lag() -> float:
    """The most by which the event loop woke a sleeper too late, in seconds, until it is cancelled."""
    worst_s = 0.0
    with suppress(asyncio.CancelledError):
        while True:
            started = time.perf_counter()
            await asyncio.sleep(_LAG_PROBE_S)
            worst_s = max(worst_s, time.perf_counter() - started - _LAG_PROBE_S)
    return worst_s


def _snapshot(
    references: Iterable[Reference], identities: Mapping[str, Identity], previous: GallerySnapshot | None = None
) -> GallerySnapshot:
    return GallerySnapshot.build(identities, references, refused=(), errors=(), previous=previous)


def _identities(references: Iterable[Reference]) -> dict[str, Identity]:
    consent = Consent(basis="bench", date=date(2026, 1, 1), reference="none")
    ids = dict.fromkeys(one.identity_id for one in references)
    return {id_: Identity(id=id_, names={"en": id_}, consent=consent) for id_ in ids}


class _Reader:
    """Searches the snapshot in use, one probe after the other."""

    def __init__(self, snapshot: GallerySnapshot, probes: NDArray[np.float32]) -> None:
        self.snapshot = snapshot
        self._probes = probes
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._search, name="gallery-reader", daemon=True)
        self._took: list[float] = []
        self._answered = 0

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> tuple[int, int, float]:
        """Searches begun, searches without a right answer, and the longest in seconds."""
        self._stopped.set()
        self._thread.join()
        return len(self._took), len(self._took) - self._answered, max(self._took, default=0.0)

    def _search(self) -> None:
        while not self._stopped.is_set():
            snapshot = self.snapshot
            probe = self._probes[len(self._took) % len(self._probes)]
            started = time.perf_counter()
            try:
                match = snapshot.match(probe)
                self._answered += match is not None and match.best.identity_id in snapshot.identities
            finally:
                self._took.append(time.perf_counter() - started)
