"""The gallery in use: kept equal to its folder, read through immutable snapshots."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from monitor.clock import Clock
from monitor.errors import GalleryError, MonitorError
from monitor.gallery.claims import settle_claims
from monitor.gallery.config import GalleryConfig
from monitor.gallery.enrolment import Enrolment, FaceAnalyser, Plan, Progress
from monitor.gallery.folder import FolderScan, scan_folder
from monitor.gallery.identity import Identity, Reference, RefusedPhoto
from monitor.gallery.long_sequence import LongSequence
from monitor.gallery.look_alikes import settle_look_alikes
from monitor.gallery.metrics import GalleryMetrics
from monitor.gallery.register import Register
from monitor.gallery.snapshot import GallerySnapshot
from monitor.gallery.store import ReferenceStore
from monitor.gallery.watch import folder_changes

log = logging.getLogger(__name__)

_LOOK_EVERY_S = 0.5
"""So often the folder is read again, and what was enrolled put to use, while many photos are being enrolled."""

_WORK_PER_LOOK = 3.0
"""At least so many times as long as a look took it enrols: a look at very many photos takes a minute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    """What the folder held at one look."""

    identities: Mapping[str, Identity]
    errors: tuple[GalleryError, ...]
    plan: Plan


class Gallery:
    """Owns the snapshot. ``snapshot`` may be read at any time; a sync replaces it, each time in one assignment."""

    def __init__(
        self,
        folder: Path,
        pool: FaceAnalyser,
        store: ReferenceStore,
        config: GalleryConfig,
        clock: Clock,
        metrics: GalleryMetrics,
    ) -> None:
        self._folder = folder
        self._config = config
        self._clock = clock
        self._metrics = metrics
        self._register = Register()
        self._enrolment = Enrolment(pool, store, config)
        self._syncing = asyncio.Lock()
        self._snapshot = GallerySnapshot.empty()
        self._scan: FolderScan | None = None
        self._settled: Sequence[Reference] = ()
        self._loaded = False

    @property
    def snapshot(self) -> GallerySnapshot:
        """The gallery in use; empty before the first sync."""
        return self._snapshot

    async def ready(self) -> None:
        """Return once the folder was read for the first time.

        :raises GalleryError: it was not yet.
        """
        if not self._loaded:
            raise GalleryError(f"{self._folder}: not read yet; large galleries take minutes the first time")

    async def sync(self, progress: Progress | None = None) -> GallerySnapshot:
        """Read what changed in the folder and put it to use: what is known at once, new photos as they are enrolled.

        What changes while many photos are being enrolled does not wait for them. Photos and identity files that cannot
        be used stand in the snapshot with their reason; the rest is loaded.

        :raises GalleryError: the folder itself cannot be read.
        :raises StorageError: the stored embeddings cannot be read. In both cases the snapshot in use stays.
        """
        async with self._syncing:
            started = self._clock.monotonic()
            try:
                changed = await self._sync(progress)
            except Exception:  # only counted here; raised on
                self._metrics.syncs.labels("failed").inc()
                raise
            self._metrics.syncs.labels("changed" if changed else "unchanged").inc()
            self._metrics.sync_seconds.observe(self._clock.monotonic() - started)
            return self._snapshot

    async def watch(self) -> None:
        """Synchronise whenever the folder changes, for ever; a sync that fails leaves the last good snapshot."""
        failure = ""
        changes = folder_changes(self._folder, rescan_s=self._config.rescan_s, clock=self._clock)
        async with contextlib.aclosing(changes):
            async for _ in changes:
                try:
                    await self.sync()
                    failure = ""
                except MonitorError as err:
                    if str(err) != failure:
                        failure = str(err)
                        log.error("gallery_sync_failed detail=%s consequence=last_good_gallery_stays", failure)
                except Exception:
                    # Top of a task: a fault in one sync must not keep later changes from being seen.
                    log.exception("gallery_sync_failed consequence=last_good_gallery_stays")

    async def _sync(self, progress: Progress | None) -> bool:
        before = self._snapshot
        await self._enrolment.begin()
        try:
            while True:
                began = self._clock.monotonic()
                if not await self._look():
                    break
                took = self._clock.monotonic() - began
                await self._enrolment.advance(max(_LOOK_EVERY_S, _WORK_PER_LOOK * took), progress)
        finally:
            await self._enrolment.halt()
        self._settled = self._snapshot.references
        self._loaded = True
        await self._enrolment.forget_others(chain(self._snapshot.references, self._snapshot.look_alikes))
        return self._snapshot is not before

    async def _look(self) -> bool:
        """Put to use what the folder holds and what is known of its photos; whether photos are left to enrol."""
        read = await asyncio.to_thread(self._read)
        self._enrolment.follow(read.plan)
        new = await asyncio.to_thread(self._built, read)
        if new is not None:
            old, self._snapshot = self._snapshot, new
            self._metrics.show(new)
            _report(old, new)
        return self._enrolment.busy

    def _read(self) -> _Reading:
        scan = self._scan = scan_folder(self._folder, now=self._clock.utc(), before=self._scan)
        identities, mistakes = self._register.update(scan.folders)
        used = (folder for folder in scan.folders if folder.id in identities)
        plan = self._enrolment.survey(LongSequence(photo for folder in used for photo in folder.photos))
        return _Reading(identities=identities, errors=(*scan.errors, *mistakes), plan=plan)

    def _built(self, read: _Reading) -> GallerySnapshot | None:
        """What is to be used from now on; None if that is what is in use. Photos may be examined meanwhile."""
        # Asked first: a photo that is decided between the two is then both, and nothing false is said of it.
        undecided = self._enrolment.undecided()
        outcomes = LongSequence(self._enrolment.outcomes())
        enrolled = LongSequence(one for one in outcomes if isinstance(one, Reference) and not one.look_alike)
        references, claimed = settle_claims(enrolled, self._settled, self._enrolment.age)
        look_alikes, doubted = settle_look_alikes(
            [one for one in outcomes if isinstance(one, Reference) and one.look_alike],
            references,
            self._enrolment.similarity_threshold,
        )
        new = GallerySnapshot.build(
            read.identities,
            chain(references, look_alikes),
            refused=[*claimed, *doubted, *(one for one in outcomes if isinstance(one, RefusedPhoto))],
            errors=read.errors,
            undecided=undecided,
            previous=self._snapshot,
        )
        return None if _same(self._snapshot, new) else new


def _same(old: GallerySnapshot, new: GallerySnapshot) -> bool:
    return (
        old.digest == new.digest
        and old.refused == new.refused
        and [str(error) for error in old.errors] == [str(error) for error in new.errors]
        and _same_photos(old.references, new.references)
        and _same_photos(old.look_alikes, new.look_alikes)
    )


def _same_photos(old: Sequence[Reference], new: Sequence[Reference]) -> bool:
    return len(old) == len(new) and all(one.photo == other.photo for one, other in zip(old, new, strict=True))


def _report(old: GallerySnapshot, new: GallerySnapshot) -> None:
    """Log what the operator has to know of the new snapshot, and only what is new in it."""
    said = {str(error) for error in old.errors}
    for error in new.errors:
        if str(error) not in said:
            log.error("gallery_error detail=%s", error)
    for photo in set(new.refused) - set(old.refused):
        log.warning(
            "photo_refused identity=%s photo=%r reason=%s detail=%s",
            photo.identity_id,
            photo.photo,
            photo.reason,
            photo.detail,
        )
    log.info(
        "gallery_synchronised identities=%d protected=%d references=%d look_alikes=%d refused=%d errors=%d digest=%s",
        len(new.identities),
        len(new.protected),
        len(new.references),
        len(new.look_alikes),
        len(new.refused),
        len(new.errors),
        new.digest,
    )
