"""What finding and embedding faces costs on this machine, beside three other ways in the same run.

The ways take turns, each with all pictures, so that what else the machine does strikes them alike, and what is told is
the median of the CPU time. With a graphics card, whose work no CPU time shows, it is that of the time that passes.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from monitor.bench.faces_pictures import CROWD, crowded_picture, single_pictures
from monitor.bench.faces_pool import pool_rate
from monitor.bench.faces_row import FaceCost, FacesRow
from monitor.bench.faces_ways import FloorWay, InsightFaceWay, OpenCvWay, OurWay, Picture, Tape, Way
from monitor.errors import MonitorError
from monitor.faces import loading, packs
from monitor.faces.analyser import FaceAnalyser
from monitor.faces.config import FacesConfig, Provider
from monitor.faces.providers import GPU_PROVIDERS, Precision, open_session

Progress = Callable[[str], None]
"""Told what is being measured."""

QUICK_ROUNDS = 15
ROUNDS = 80


def measure(
    folder: Path,
    *,
    cache_dir: Path,
    providers: Sequence[Provider],
    rounds: int,
    shared_inference: bool = False,
    progress: Progress | None = None,
) -> list[FacesRow]:
    """One row for each provider, on the pack that ships.

    :param folder: for a network; of no use afterwards.
    :param cache_dir: for prepared networks, kept for later runs.
    :param shared_inference: one process runs the networks for all workers, on the CPU too.
    :raises PackError: a provider is not there.
    :raises MonitorError: a way missed a face; its figures would be worthless.
    """
    pictures = [*single_pictures(), crowded_picture()]
    with _one_thread():
        opencv = OpenCvWay(folder, pictures)
        rows = []
        for provider in providers:
            if progress is not None:
                progress(f"{provider}: {rounds} rounds")
            config = FacesConfig(
                provider=provider,
                cache_dir=cache_dir / "networks",
                shared_inference=shared_inference and provider != "openvino",
            )
            rows.append(_row(config, pictures, opencv, rounds))
    return rows


def _row(config: FacesConfig, pictures: Sequence[Picture], opencv: Way, rounds: int) -> FacesRow:
    files, tape = packs.locate(config), Tape()
    analyser = loading.load(config, tape.open)
    precision = Precision(analyser.info.precision)
    floor = FloorWay(analyser, tape, pictures)
    ways: dict[str, Way] = {
        "ours": OurWay(analyser, pictures),
        "floor": floor,
        "one_by_one": InsightFaceWay(floor.detector, files.recogniser, floor.recogniser, pictures),
        "opencv": opencv,
    }
    clock = time.perf_counter if config.provider in GPU_PROVIDERS else time.process_time
    times = Times.of(ways, len(pictures), rounds, clock)
    costs = {name: times.cost(name) for name in ways}
    return FacesRow(
        provider=analyser.info.provider,
        precision=precision,
        ours=costs["ours"],
        floor=costs["floor"],
        one_by_one=costs["one_by_one"],
        opencv=costs["opencv"],
        p99_ms=times.p99_ms("ours"),
        pool=asyncio.run(pool_rate(config, pictures[:-1], rounds)),
        min_cosine=_min_cosine(analyser, files, pictures),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Seconds that each look took: by way, by picture, one for each round. The last picture is the crowded one."""

    seconds: Mapping[str, Sequence[Sequence[float]]] = field(repr=False)

    @classmethod
    def of(cls, ways: Mapping[str, Way], pictures: int, rounds: int, clock: Callable[[], float]) -> Times:
        """Let the ways take turns.

        :raises MonitorError: if one missed a face.
        """
        seconds: dict[str, list[list[float]]] = {name: [[] for _ in range(pictures)] for name in ways}
        for _, (name, way) in itertools.product(range(rounds), ways.items()):
            # The look before brings back into the cache what a process of its own would have kept there.
            way.look(pictures - 1)
            for number in range(pictures):
                began = clock()
                found = way.look(number)
                seconds[name][number].append(clock() - began)
                expected = CROWD if number == pictures - 1 else 1
                if found != expected:
                    raise MonitorError(f"bench: {name} found {found} faces in picture {number}, expected {expected}")
        return cls(seconds=seconds)

    def cost(self, way: str) -> FaceCost:
        """Medians; a further face is the difference between the crowd and one face, shared among the others."""
        *singles, crowd = (statistics.median(took) for took in self.seconds[way])
        frame = statistics.mean(singles)
        return FaceCost(frame=1000 * frame, face=1000 * (crowd - frame) / (CROWD - 1))

    def p99_ms(self, way: str) -> float:
        """Of the looks at pictures with one face."""
        return float(1000 * np.percentile(np.concatenate(self.seconds[way][:-1]), 99))


def _min_cosine(analyser: FaceAnalyser, files: packs.PackFiles, pictures: Sequence[Picture]) -> float:
    """To what InsightFace's own code makes of the same landmarks by ONNX Runtime on the CPU."""
    detector, recogniser = (open_session(path, "cpu") for path in (files.detector, files.recogniser))
    reference = InsightFaceWay(detector, files.recogniser, recogniser, pictures)
    return min(
        float(face.embedding @ reference.embed(picture, face.landmarks))
        for picture in pictures
        for face in analyser.faces(picture)
        if face.embedding is not None
    )


@contextmanager
def _one_thread() -> Iterator[None]:
    """OpenCV with one thread, as a worker has it, and without what it and InsightFace's alignment warn of."""
    threads, level = cv2.getNumThreads(), cv2.utils.logging.getLogLevel()
    cv2.setNumThreads(1)
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
    try:
        with warnings.catch_warnings():
            # scikit-image deprecates what InsightFace calls.
            warnings.simplefilter("ignore")
            yield
    finally:
        cv2.setNumThreads(threads)
        cv2.utils.logging.setLogLevel(level)
