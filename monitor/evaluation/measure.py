"""Runs an evaluation: photos are enrolled and searched for, as they are and as transformed recordings."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from monitor.bench.machine import describe
from monitor.cli.scanner import Faces, Scanner
from monitor.demo.face_swap import open_detector
from monitor.errors import FrameLost, MonitorError
from monitor.evaluation.album import Album, Photo
from monitor.evaluation.catalogue import Transformation
from monitor.evaluation.enrol import Examined, enrolled, examine, sitter
from monitor.evaluation.openset import Searches
from monitor.evaluation.outcome import Evaluation, Skipped, Trial, row
from monitor.evaluation.plan import Round, plan, spread
from monitor.evaluation.recording import middle_picture, transformed, write_recording
from monitor.evaluation.shot import Shot
from monitor.evaluation.studio import Double, Sitter, find_double, recorded, swapped
from monitor.evaluation.verdict import PictureReading, PictureVerdict, read_picture
from monitor.faces.config import FacesConfig
from monitor.faces.face import PackInfo, PictureFaces
from monitor.gallery.calibration_file import calibration_of
from monitor.gallery.config import GalleryConfig
from monitor.gallery.snapshot import GallerySnapshot
from monitor.sightings.config import SightingsConfig
from monitor.sightings.evidence_limit import sized_test
from monitor.sightings.sighting import EvidenceVerdict
from monitor.streams.gop import iter_file
from monitor.streams.packet import EncodedFrame

INTERVAL_S = 1.0
"""Between the pictures of a clip that are analysed: about as dense as the daemon's after a first candidate."""

_MOST_REASONS = 5

Progress = Callable[[str, int, int], None]
"""What is being done, steps done, steps in all."""

Analysed = Sequence[tuple[EncodedFrame, tuple[PictureFaces, ...]]]
"""A clip's pictures, in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to evaluate."""

    source: str
    album: Album
    transformations: tuple[Transformation, ...]
    enrol: int = 1
    """Photos enrolled of each identity."""
    probes: int = 12
    """Most photos of enrolled people, and half as many of others, that are made into clips."""
    most_identities: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Arena:
    """One round with its gallery."""

    plan: Round
    gallery: GallerySnapshot


class Evaluator:
    """Evaluates one order after the other with a loaded pool.

    :param workspace: an existing folder for clips; each is deleted once it was looked at.
    """

    def __init__(
        self,
        pool: Faces,
        *,
        faces: FacesConfig,
        gallery: GalleryConfig,
        sightings: SightingsConfig,
        workspace: Path,
        progress: Progress,
    ) -> None:
        self._pool = pool
        self._faces = faces
        self._gallery = gallery
        self._sightings = sightings
        self._test = sized_test(calibration_of(pool.pack, gallery.calibration_file), sightings)
        self._workspace = workspace
        self._progress = progress
        self._cores = asyncio.Semaphore(max(1, os.cpu_count() or 1))

    async def run(self, order: Order) -> Evaluation:
        """Measure all of it.

        :raises MonitorError: nobody could be enrolled, or nothing is left to be searched for.
        """
        began, started = datetime.now(UTC), time.monotonic()
        rounds = plan(order.album, enrol=order.enrol, most_identities=order.most_identities)
        examined = await self._examined(rounds)
        arenas, refused = self._arenas(rounds, examined)
        trials, untried = await self._trials(order, arenas, examined)
        return Evaluation(
            source=order.source,
            began=began,
            seconds=time.monotonic() - started,
            machine=describe(),
            pack=self._pool.pack,
            enrolled_identities=len(arenas[0].gallery.identities),
            enrolled_photos=len(arenas[0].gallery.references),
            rounds=len(arenas),
            searches=self._searches(arenas, examined),
            trials=trials,
            rows=tuple(row(one, trials) for one in order.transformations),
            skipped=(*examined.skipped, *dict.fromkeys(refused), *untried),
        )

    async def _examined(self, rounds: Sequence[Round]) -> Examined:
        photos = list({photo.key: photo for one in rounds for photo in _photos(one)}.values())
        done = 0

        def step() -> None:
            nonlocal done
            done += 1
            self._progress("reading photos", done, len(photos))

        return await examine(photos, self._pool, step)

    def _arenas(self, rounds: Sequence[Round], examined: Examined) -> tuple[list[_Arena], list[Skipped]]:
        arenas: list[_Arena] = []
        refused: list[Skipped] = []
        for one in rounds:
            gallery, skipped = enrolled(one, examined, self._pool.pack, self._gallery)
            refused += skipped
            if gallery.references:
                arenas.append(_Arena(plan=_searchable(one, gallery, examined), gallery=gallery))
        if not any(arena.plan.mated for arena in arenas):
            reasons = [f"{one.what}: {one.why}" for one in (*examined.skipped, *refused)][:_MOST_REASONS]
            raise MonitorError(
                f"nobody who was enrolled has another photo that can be searched for. {'; '.join(reasons)}"
            )
        return arenas, refused

    def _searches(self, arenas: Sequence[_Arena], examined: Examined) -> Searches:
        def all_of(photos: Iterable[Photo], gallery: GallerySnapshot) -> list[float]:
            return [self._read(examined.faces[photo.key], photo, gallery).searched for photo in photos]

        return Searches(
            mated=tuple(one for arena in arenas for one in all_of(arena.plan.mated, arena.gallery)),
            non_mated=tuple(one for arena in arenas for one in all_of(arena.plan.non_mated, arena.gallery)),
        )

    def _read(self, picture: PictureFaces, photo: Photo, gallery: GallerySnapshot) -> PictureReading:
        return read_picture(picture, photo.identity, gallery, self._pool.pack, self._faces)

    async def _trials(
        self, order: Order, arenas: Sequence[_Arena], examined: Examined
    ) -> tuple[tuple[Trial, ...], list[Skipped]]:
        """One photo after the other, because a recording takes memory; its transformations side by side."""
        photos = _clip_photos(arenas, order.probes)
        total = len(photos) * len(order.transformations)
        trials: list[Trial] = []
        untried: list[Skipped] = []
        done = 0
        double = await self._double(order, untried)
        for photo in photos:
            sitting = await asyncio.to_thread(sitter, photo, examined.faces[photo.key])
            if sitting is None:
                untried.append(Skipped(what=photo.key, why="no face was found, so no clip could be made of it"))
                continue
            plain = await asyncio.to_thread(recorded, sitting)

            async def one(transformation: Transformation, photo: Photo, sitting: Sitter, plain: list[Shot]) -> None:
                nonlocal done
                async with self._cores:
                    try:
                        trials.extend(await self._clip(transformation, photo, sitting, plain, double, arenas))
                    except MonitorError as err:
                        untried.append(Skipped(what=f"{photo.key} {transformation.name}", why=str(err)))
                done += 1
                self._progress(transformation.name, done, total)

            async with asyncio.TaskGroup() as tasks:
                for transformation in order.transformations:
                    if transformation.swapped and double is None:
                        continue
                    tasks.create_task(one(transformation, photo, sitting, plain))
        return tuple(sorted(trials, key=lambda trial: (trial.transformation, trial.identity, trial.photo))), untried

    async def _double(self, order: Order, untried: list[Skipped]) -> Double | None:
        if not any(one.swapped for one in order.transformations):
            return None
        try:
            return await asyncio.to_thread(lambda: find_double(open_detector(self._faces.cache_dir)))
        except MonitorError as err:
            untried += [Skipped(what=one.name, why=str(err)) for one in order.transformations if one.swapped]
            return None

    async def _clip(
        self,
        transformation: Transformation,
        photo: Photo,
        sitting: Sitter,
        plain: Sequence[Shot],
        double: Double | None,
        arenas: Sequence[_Arena],
    ) -> list[Trial]:
        """Make the clip, look at it once, and search for it in every gallery in which it is a probe."""
        path = self._workspace / f"{transformation.name}.mp4"

        def make() -> None:
            shots = swapped(sitting, double) if transformation.swapped and double is not None else plain
            write_recording(path, transformed(shots, transformation), transformation.bit_rate)

        await asyncio.to_thread(make)
        try:
            analysed = await self._analysed(path)
            trials = [
                await self._trial(transformation, photo, mated, analysed, arena.gallery)
                for arena in arenas
                for mated in (True, False)
                if photo in (arena.plan.mated if mated else arena.plan.non_mated)
            ]
            jpeg = None if all(one.right for one in trials) else await asyncio.to_thread(middle_picture, path)
        finally:
            path.unlink(missing_ok=True)
        return [one if one.right else replace(one, jpeg=jpeg) for one in trials]

    async def _analysed(self, path: Path) -> Analysed:
        frames = await asyncio.to_thread(lambda: list(iter_file(path, INTERVAL_S)))
        analysed = []
        for frame in frames:
            try:
                analysed.append((frame, await self._pool.analyse(frame)))
            except FrameLost:
                continue
        return analysed

    async def _trial(
        self, transformation: Transformation, photo: Photo, mated: bool, analysed: Analysed, gallery: GallerySnapshot
    ) -> Trial:
        scanner = Scanner(_Replay(self._pool, analysed), gallery, self._sightings, self._test)
        result = await scanner.video(_each(frame for frame, _ in analysed))
        sighted = {one.identity_id for one in result.sightings if one.verdict == EvidenceVerdict.PASSED}
        readings = [self._read(picture, photo, gallery) for _, pictures in analysed for picture in pictures]
        middle = readings[len(readings) // 2] if readings else None
        return Trial(
            transformation=transformation.name,
            identity=photo.identity,
            photo=photo.name,
            mated=mated,
            sighted=tuple(sorted(sighted)),
            verdicts=tuple(reading.verdict for reading in readings),
            frame_verdict=middle.verdict if middle else PictureVerdict.NO_FACE,
            frame_similarity=middle.similarity if middle else None,
        )


class _Replay:
    """Gives out again what the pool found, so that several galleries cost one look."""

    def __init__(self, pool: Faces, analysed: Analysed) -> None:
        self._pool = pool
        self._known: Mapping[int, tuple[PictureFaces, ...]] = {id(frame): found for frame, found in analysed}

    @property
    def pack(self) -> PackInfo:
        return self._pool.pack

    @property
    def workers(self) -> int:
        return self._pool.workers

    async def analyse(self, frame: EncodedFrame) -> tuple[PictureFaces, ...]:
        return self._known[id(frame)]

    async def analyse_image(self, data: bytes) -> PictureFaces:
        return await self._pool.analyse_image(data)


async def _each(frames: Iterable[EncodedFrame]) -> AsyncIterator[EncodedFrame]:
    for frame in frames:
        yield frame


def _photos(one: Round) -> tuple[Photo, ...]:
    return (*one.enrolled, *one.mated, *one.non_mated)


def _searchable(one: Round, gallery: GallerySnapshot, examined: Examined) -> Round:
    """The round without unreadable photos, and without probes of people whose enrolment was refused."""
    return Round(
        enrolled=one.enrolled,
        mated=tuple(
            photo for photo in one.mated if photo.key in examined.faces and photo.identity in gallery.identities
        ),
        non_mated=tuple(photo for photo in one.non_mated if photo.key in examined.faces),
    )


def _clip_photos(arenas: Sequence[_Arena], most: int) -> list[Photo]:
    mated = {photo.key: photo for arena in arenas for photo in arena.plan.mated}
    others = {photo.key: photo for arena in arenas for photo in arena.plan.non_mated}
    return [*spread(list(mated.values()), most), *spread(list(others.values()), -(-most // 2))]
