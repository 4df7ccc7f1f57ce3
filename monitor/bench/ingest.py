"""What watching a room costs before anybody looks for faces: CPU, bytes and memory, beside two others in the same run.

Ours is the daemon's own way from the network to the decoded keyframe: source, ring, sampler, pool and worker process.
The floor decodes as many of the same keyframes and does nothing else. The other way is one ``cv2.VideoCapture`` for
each room, which decodes everything. Each is a process of its own, and at the same time as the others or right after;
the publisher is another and is not counted.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from monitor.bench.child_process import ChildProcess, child_process
from monitor.bench.ingest_clips import FPS, TALLEST, make_renditions
from monitor.bench.ingest_publisher import RTMP_PHASES
from monitor.bench.ingest_row import DENSE_S, SPARSE_S, Cost, IngestRow, Traffic
from monitor.errors import MonitorError

Progress = Callable[[str], None]
"""Told what is being measured."""

_READY_S = 60.0
_LOOK_S = 0.25
_LEAST_SAMPLED = 0.7
"""Of the samples that are due; with fewer the machine did not keep up, and the figures would flatter."""
_STEP = 110
"""Rooms that are added at once."""
_BYTES_PER_ROOM = 8_000_000
"""What a room may take of the machine's memory: its ring, and what the publisher holds for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is measured."""

    kinds: tuple[str, ...] = ("hls", "rtmp")
    intervals_s: tuple[float, ...] = (DENSE_S, SPARSE_S)
    streams: int
    """Rooms whose CPU is measured."""
    most_streams: int
    """Rooms in the end, if the machine keeps up; memory is the slope from ``streams`` to here."""
    counted: int
    """Rooms whose bytes are counted."""
    opencv: int
    """Rooms that OpenCV reads."""
    warm_s: float
    """From the first samples until measuring begins: players begin with what they missed."""
    window_s: float
    """Measured, and at least one interval."""
    opencv_s: float
    """Measured of OpenCV."""
    settle_s: float
    """From the last room's first sample until memory is measured."""
    together: bool
    """All rows at the same time: quicker, and no less right as long as the machine is not full."""


QUICK = Plan(
    streams=8,
    most_streams=40,
    counted=6,
    opencv=2,
    warm_s=3.0,
    window_s=10.0,
    opencv_s=6.0,
    settle_s=3.0,
    together=True,
)
FULL = Plan(
    streams=60,
    most_streams=500,
    counted=10,
    opencv=4,
    warm_s=8.0,
    window_s=30.0,
    opencv_s=20.0,
    settle_s=15.0,
    together=False,
)


def full_plan() -> Plan:
    """``FULL``, with fewer rooms in the end where the machine has not the memory for them."""
    room_for = psutil.virtual_memory().available // _BYTES_PER_ROOM
    return dataclasses.replace(FULL, most_streams=max(2 * FULL.streams, min(FULL.most_streams, room_for)))


async def measure(folder: Path, *, cache_dir: Path, plan: Plan, progress: Progress | None = None) -> list[IngestRow]:
    """Measure every kind at every interval.

    :param folder: for what the processes say; of no use afterwards.
    :param cache_dir: for clips and prepared networks, kept for later runs.
    :raises MonitorError: a process ended, or the machine did not keep up; there are no figures then.
    """
    say = progress or (lambda _: None)
    say("making the clips")
    clips = await make_renditions(cache_dir)
    groups = [_group(who, "rtmp", interval) for who in ("ours", "libav", "opencv") for interval in plan.intervals_s]
    async with AsyncExitStack() as stack:
        publisher = await stack.enter_async_context(
            child_process("publisher", "monitor.bench.ingest_publisher", folder=folder)
        )
        paths = {height: str(path) for height, path in clips.items()}
        bench = _Bench(
            plan=plan,
            folder=folder,
            networks_dir=cache_dir / "networks",
            clip=clips[TALLEST.height],
            urls=await publisher.ask({"clips": paths, "rtmp_groups": groups}),
            session=await stack.enter_async_context(aiohttp.ClientSession()),
            progress=say,
        )
        cells = [_Cell(bench=bench, kind=kind, interval_s=one) for kind in plan.kinds for one in plan.intervals_s]
        if not plan.together:
            return [await cell.measure() for cell in cells]
        async with asyncio.TaskGroup() as tasks:
            measuring = [tasks.create_task(cell.measure()) for cell in cells]
        return [task.result() for task in measuring]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bench:
    """What all rows share."""

    plan: Plan
    folder: Path
    networks_dir: Path
    clip: Path
    urls: Mapping[str, str]
    session: aiohttp.ClientSession = field(repr=False)
    progress: Progress

    async def sent(self) -> Mapping[str, int]:
        """Bytes sent so far to each group."""
        async with self.session.get(f"{self.urls['http']}/sent") as answer:
            found: dict[str, int] = await answer.json()
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Window:
    """What passed between two looks at the processes of a row."""

    ours: tuple[dict[str, Any], dict[str, Any]]
    floor: tuple[dict[str, Any], dict[str, Any]]
    sent: tuple[Mapping[str, int], Mapping[str, int]]

    @property
    def seconds(self) -> float:
        return float(self.ours[1]["at"] - self.ours[0]["at"])

    @property
    def pictures(self) -> int:
        """Pictures that our workers decoded."""
        return int(self.ours[1]["pictures"] - self.ours[0]["pictures"])

    @property
    def our_cpu_s(self) -> float:
        return float(self.ours[1]["cpu_s"] - self.ours[0]["cpu_s"])

    @property
    def floor_cpu_s(self) -> float:
        """What the floor takes for as many pictures."""
        before, after = self.floor
        return float((after["cpu_s"] - before["cpu_s"]) / (after["pictures"] - before["pictures"]) * self.pictures)

    def bytes_per_s(self, group: str) -> float:
        """Sent to a group for each second."""
        return (self.sent[1][group] - self.sent[0][group]) / self.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cell:
    """One row on its way."""

    bench: _Bench
    kind: str
    interval_s: float

    async def measure(self) -> IngestRow:
        """CPU and bytes first; then OpenCV and, with more rooms, memory."""
        plan = self.bench.plan
        self._say(f"{plan.streams} rooms")
        async with self._probe("ours", "ours") as ours:
            await self._watch(ours, self._rooms("ours", plan.streams), decode=True)
            window = await self._beside_floor(ours)
            self._check(window)
            if plan.together:
                opencv, last = await asyncio.gather(self._opencv(), self._grown(ours))
            else:
                opencv, last = await self._opencv(), await self._grown(ours)
        room_s = plan.streams * window.seconds
        counted = "master" if self.kind == "hls" else "ours"
        before = window.ours[1]
        return IngestRow(
            kind=self.kind,
            height=TALLEST.height,
            interval_s=self.interval_s,
            streams=plan.streams,
            cpu=Cost(ours=window.our_cpu_s / room_s, floor=window.floor_cpu_s / room_s, opencv=opencv),
            traffic=Traffic(
                ours=window.bytes_per_s(self._group(counted)) / (plan.counted if counted == "master" else plan.streams),
                libav_master=window.bytes_per_s(self._group("libav")) / plan.counted,
            ),
            rss_bytes=((last["rss"] - last["ring"]) - (before["rss"] - before["ring"])) / (last["live"] - plan.streams),
            most_streams=last["live"],
        )

    async def _grown(self, ours: ChildProcess) -> dict[str, Any]:
        """Let it watch more and more rooms, as long as the machine keeps up; what it takes then."""
        plan = self.bench.plan
        rooms = self._rooms("ours", plan.most_streams)
        for begin in range(plan.streams, plan.most_streams, _STEP):
            end = min(begin + _STEP, plan.most_streams)
            self._say(f"{end} rooms for memory")
            await self._watch(ours, rooms[begin:end], decode=False)
            if await _live(ours, end) < end:
                break
        await asyncio.sleep(plan.settle_s)
        last = await _snapshot(ours)
        if last["live"] <= plan.streams:
            raise MonitorError(f"bench: {self.kind}: not one room more than {plan.streams} could be watched")
        return last

    async def _beside_floor(self, ours: ChildProcess) -> _Window:
        """Measure ours beside the floor, and count bytes."""
        plan = self.bench.plan
        async with self._probe("floor", "floor") as floor, self._probe("libav", "libav") as libav:
            await floor.ask({"do": "watch", "clip": str(self.bench.clip), "per_s": plan.streams / self.interval_s})
            await libav.ask({"do": "watch", "urls": self._rooms("libav", plan.counted, master=True)})
            async with self._master():
                await _all_live(ours, plan.streams, f"{self.kind}: the monitor")
                await _all_live(libav, plan.counted, f"{self.kind}: libav")
                await asyncio.sleep(plan.warm_s)
                first = await asyncio.gather(_snapshot(ours), _snapshot(floor), self.bench.sent())
                await asyncio.sleep(max(plan.window_s, self.interval_s))
                last = await asyncio.gather(_snapshot(ours), _snapshot(floor), self.bench.sent())
        return _Window(ours=(first[0], last[0]), floor=(first[1], last[1]), sent=(first[2], last[2]))

    @asynccontextmanager
    async def _master(self) -> AsyncGenerator[None, None]:
        """HLS: let the monitor watch rooms by their master playlists, for the bytes alone."""
        if self.kind != "hls":
            yield
            return
        count = self.bench.plan.counted
        async with self._probe("ours", "master") as master:
            await self._watch(master, self._rooms("master", count, master=True), decode=False)
            await _all_live(master, count, "hls: the monitor, by the master playlist")
            yield

    async def _opencv(self) -> float:
        """CPU seconds that OpenCV takes for each second of a room."""
        plan = self.bench.plan
        async with self._probe("opencv", "opencv") as opencv:
            urls = self._rooms("opencv", plan.opencv)
            await opencv.ask({"do": "watch", "urls": urls, "interval_s": self.interval_s})
            await _all_live(opencv, plan.opencv, f"{self.kind}: OpenCV")
            await asyncio.sleep(plan.warm_s)
            first = await _snapshot(opencv)
            await asyncio.sleep(plan.opencv_s)
            last = await _snapshot(opencv)
        room_s = (last["decoded"] - first["decoded"]) / FPS
        if not room_s:
            raise MonitorError(f"bench: {self.kind}: OpenCV decoded nothing; the figures would be worthless")
        return float((last["cpu_s"] - first["cpu_s"]) / room_s)

    def _check(self, window: _Window) -> None:
        """:raises MonitorError: too few pictures were decoded to compare with anything."""
        due = self.bench.plan.streams * window.seconds / self.interval_s
        if window.pictures < _LEAST_SAMPLED * due:
            raise MonitorError(
                f"bench: {self.kind} every {self.interval_s:g} s: {window.pictures} of {due:.0f} pictures came out; "
                "close what else runs on this machine"
            )

    async def _watch(self, ours: ChildProcess, urls: Sequence[str], *, decode: bool) -> None:
        networks_dir = str(self.bench.networks_dir)
        question = {"urls": urls, "interval_s": self.interval_s, "decode": decode, "networks_dir": networks_dir}
        await ours.ask({"do": "watch", **question})

    def _rooms(self, who: str, count: int, *, master: bool = False) -> list[str]:
        """Addresses of somebody's rooms."""
        urls, group = self.bench.urls, self._group(who)
        if self.kind == "rtmp":
            return [f"{urls['rtmp']}/{group}.{number % RTMP_PHASES}" for number in range(count)]
        name = "master.m3u8" if master else f"{TALLEST.height}/index.m3u8"
        return [f"{urls['http']}/{group}/{number}/{name}" for number in range(count)]

    @asynccontextmanager
    async def _probe(self, role: str, who: str) -> AsyncGenerator[ChildProcess, None]:
        async with child_process(
            self._group(who), "monitor.bench.ingest_probe", role, folder=self.bench.folder
        ) as process:
            yield process

    def _group(self, who: str) -> str:
        return _group(who, self.kind, self.interval_s)

    def _say(self, what: str) -> None:
        self.bench.progress(f"{self.kind} every {self.interval_s:g} s: {what}")


def _group(who: str, kind: str, interval_s: float) -> str:
    return f"{who}-{kind}-{interval_s:g}"


async def _snapshot(process: ChildProcess) -> dict[str, Any]:
    return await process.ask({"do": "snapshot"})


async def _all_live(process: ChildProcess, rooms: int, who: str) -> None:
    """:raises MonitorError: not all rooms were seen within a minute."""
    seen = await _live(process, rooms)
    if seen < rooms:
        raise MonitorError(f"bench: {who} saw only {seen} of {rooms} rooms in {_READY_S:.0f} s: {process.last_words()}")


async def _live(process: ChildProcess, rooms: int) -> int:
    """Wait until all ``rooms`` have been seen, at most a minute; how many were."""
    deadline = time.monotonic() + _READY_S
    while True:
        seen = int((await _snapshot(process))["live"])
        if seen >= rooms or time.monotonic() > deadline:
            return seen
        await asyncio.sleep(_LOOK_S)
