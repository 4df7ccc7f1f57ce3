"""Runs the real daemon over many live rooms for long, with one fault a minute, and judges what it held on to.

    PYTHONPATH=.:tests python tests/soak/soak.py --out /tmp/soak [--minutes 30] [--hls 100] [--rtmp 20]

Writes soak.csv, soak.png and the daemon's log. Ends with 1 if a fault was not recovered from before the next one,
or if memory, threads or files grew: the median of the last fifth of the run against that of its second fifth may be
at most 10 % + 20 MiB, 3 threads and 12 files higher. Connections are no files here: the HTTP client keeps as many as
were ever needed at once, so they are judged by their highest number, one for each room and a few of onlookers.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import os
import re
import signal
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import aiohttp
import psutil
from aiohttp import web
from support.daemon import DaemonFolder, daemon_folder
from support.hls import HttpServer, http_server
from support.soak_plot import draw
from support.video import picture

from monitor.demo.clip import FPS, HEIGHT, SECONDS, WIDTH, Clip, load_clip, write_clip
from monitor.demo.live_hls import LiveRooms
from monitor.demo.live_rtmp import LiveRtmp
from monitor.demo.rooms import ROOMS, make_clips

SAMPLE_S = 5.0
FAULT_S = 60.0
"""Seconds from one fault to the next."""
TROUBLE_S = 15.0
"""How long a room stays off the air."""
ON_AIR_S = 10.0
GROWTH = {"rss_mib": (1.10, 20.0), "workers_rss_mib": (1.10, 20.0), "threads": (1.0, 3.0), "files": (1.0, 12.0)}
"""Most that the end may be of the beginning: factor and addend."""
ONLOOKERS = 10
"""Connections that are no room's: of the pages and the metrics."""


@dataclass(frozen=True)
class Sample:
    """The daemon at one moment."""

    second: float
    live: int
    workers: int
    rss_mib: float
    workers_rss_mib: float
    threads: int
    files: int
    """Open ones that are no TCP connections."""
    connections: int
    sampled: int
    dropped: int
    unwatched_s: float
    cpu_s: float
    """Of the daemon without its workers, since it started."""


@dataclass
class Soak:
    """The rooms, the daemon, and what was seen."""

    options: argparse.Namespace
    folder: DaemonFolder
    hls: LiveRooms
    rtmp: LiveRtmp
    proxy: SpoiltProxy
    began: float = field(default_factory=time.monotonic)
    samples: list[Sample] = field(default_factory=list)
    faults: list[tuple[float, str]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def rooms(self) -> int:
        return self.options.hls + self.options.rtmp

    @property
    def second(self) -> float:
        return time.monotonic() - self.began

    def daemon(self) -> psutil.Process:
        assert self.folder.process is not None
        return psutil.Process(self.folder.process.pid)

    def worker_processes(self) -> list[psutil.Process]:
        return [child for child in self.daemon().children() if child.status() != psutil.STATUS_ZOMBIE]

    async def sample(self) -> Sample:
        metrics = await self._metrics()
        process, workers = self.daemon(), self.worker_processes()
        connections = len(process.net_connections("tcp"))
        with process.oneshot():
            found = Sample(
                second=round(self.second, 1),
                live=int(metrics.get('monitor_streams{state="live"}', 0)),
                workers=int(metrics.get("monitor_faces_workers", 0)),
                rss_mib=round(process.memory_info().rss / 2**20, 1),
                workers_rss_mib=round(sum(worker.memory_info().rss for worker in workers) / 2**20, 1),
                threads=process.num_threads(),
                files=process.num_fds() - connections,
                connections=connections,
                sampled=int(metrics.get("monitor_frames_sampled_total", 0)),
                dropped=int(metrics.get("monitor_frames_dropped_total", 0)),
                unwatched_s=round(sum(v for k, v in metrics.items() if "unwatched_seconds_total" in k), 1),
                cpu_s=round(process.cpu_times().user + process.cpu_times().system, 2),
            )
        self.samples.append(found)
        return found

    async def _metrics(self) -> dict[str, float]:
        url = f"http://127.0.0.1:{self.folder.port}/metrics"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            text = await answer.text()
        return {name: float(value) for name, value in re.findall(r"^([a-z_]+(?:\{[^}]*\})?) ([0-9.e+-]+)$", text, re.M)}

    async def well(self, within_s: float) -> str:
        """Empty as soon as every room is live and every worker is there; else what is missing after ``within_s``."""
        deadline = time.monotonic() + within_s
        while True:
            metrics = await self._metrics()
            live = int(metrics.get('monitor_streams{state="live"}', 0))
            workers = int(metrics.get("monitor_faces_workers", 0))
            if live == self.rooms and workers >= self.options.workers + 1:
                return ""
            if time.monotonic() > deadline:
                return f"{live} of {self.rooms} rooms live, {workers} workers"
            await asyncio.sleep(0.5)


class SpoiltProxy:
    """Passes one HLS room on, or noise in its place."""

    def __init__(self, server: HttpServer, session: aiohttp.ClientSession) -> None:
        self._server = server
        self._session = session
        self.spoilt = False

    def pass_on(self, url: str) -> str:
        """Another address for the room at ``url``."""
        base = url.rpartition("/")[0]

        async def answer(request: web.Request) -> web.Response:
            if self.spoilt:
                return web.Response(body=os.urandom(50_000))
            async with self._session.get(f"{base}/{request.path.rpartition('/')[2]}") as inner:
                return web.Response(status=inner.status, body=await inner.read())

        self._server.fallback = answer
        return self._server.url("/proxied/index.m3u8")


async def _room_stops(soak: Soak, number: int) -> None:
    name = f"hls-{number % soak.options.hls}"
    soak.hls.stop(name)
    await asyncio.sleep(TROUBLE_S)
    soak.hls.restart(name, on_air_for_s=ON_AIR_S)


async def _room_freezes(soak: Soak, number: int) -> None:
    name = f"hls-{(number + 7) % soak.options.hls}"
    soak.hls.stop(name, frozen=True)
    await asyncio.sleep(TROUBLE_S)
    soak.hls.restart(name, on_air_for_s=ON_AIR_S)


async def _room_restarts(soak: Soak, number: int) -> None:
    soak.hls.restart(f"hls-{(number + 3) % soak.options.hls}", on_air_for_s=ON_AIR_S)


async def _rtmp_stops(soak: Soak, number: int) -> None:
    name = f"rtmp-{number % soak.options.rtmp}"
    soak.rtmp.stop(name)
    await asyncio.sleep(TROUBLE_S)
    soak.rtmp.restart(name)


async def _rtmp_restarts(soak: Soak, number: int) -> None:
    soak.rtmp.restart(f"rtmp-{(number + 5) % soak.options.rtmp}")


async def _all_drop(soak: Soak, _: int) -> None:
    names = [f"hls-{n}" for n in range(soak.options.hls)]
    for name in names:
        soak.hls.stop(name)
    await asyncio.sleep(TROUBLE_S)
    for name in names:
        soak.hls.restart(name, on_air_for_s=ON_AIR_S)


async def _worker_is_killed(soak: Soak, number: int) -> None:
    workers = soak.worker_processes()
    workers[number % len(workers)].send_signal(signal.SIGKILL)


async def _worker_hangs(soak: Soak, number: int) -> None:
    workers = soak.worker_processes()
    worker = workers[number % len(workers)]
    worker.send_signal(signal.SIGSTOP)
    await asyncio.sleep(TROUBLE_S)
    # One that stood by had no job to miss: nobody can tell that it hangs.
    if worker.is_running() and worker.status() == psutil.STATUS_STOPPED:
        worker.send_signal(signal.SIGCONT)


async def _garbage(soak: Soak, _: int) -> None:
    soak.proxy.spoilt = True
    await asyncio.sleep(TROUBLE_S)
    soak.proxy.spoilt = False


FAULTS: dict[str, Callable[[Soak, int], Awaitable[None]]] = {
    "stop": _room_stops,
    "freeze": _room_freezes,
    "kill": _worker_is_killed,
    "rtmp stop": _rtmp_stops,
    "garbage": _garbage,
    "restart": _room_restarts,
    "hang": _worker_hangs,
    "rtmp restart": _rtmp_restarts,
    "all drop": _all_drop,
}


async def _inject(soak: Soak) -> None:
    number = 0
    while soak.second + FAULT_S <= soak.options.minutes * 60:
        for name, fault in FAULTS.items():
            if soak.second + FAULT_S > soak.options.minutes * 60 + 1:
                return
            begun = soak.second
            soak.faults.append((begun, name))
            await fault(soak, number)
            number += 1
            missing = await soak.well(max(5.0, begun + FAULT_S - soak.second))
            took = soak.second - begun
            print(f"{begun:6.0f} s  {name}: {missing or f'all well {took:.0f} s after it began'}", flush=True)
            if missing:
                soak.failures.append(f"{name} at {begun:.0f} s was not recovered from: {missing}")
            await asyncio.sleep(max(0.0, begun + FAULT_S - soak.second))


async def _measure(soak: Soak) -> None:
    while True:
        await soak.sample()
        await asyncio.sleep(SAMPLE_S)


def _growth(soak: Soak) -> list[str]:
    count = len(soak.samples)
    early, late = soak.samples[count // 5 : 2 * count // 5], soak.samples[-max(1, count // 5) :]
    found = []
    for name, (factor, more) in GROWTH.items():
        before = statistics.median(getattr(sample, name) for sample in early)
        after = statistics.median(getattr(sample, name) for sample in late)
        print(f"{name}: {before:g} -> {after:g} (at most {before * factor + more:g})")
        if after > before * factor + more:
            found.append(f"{name} grew from {before:g} to {after:g}")
    most = max(sample.connections for sample in soak.samples)
    print(f"connections: {most} (at most {soak.rooms + ONLOOKERS})")
    return found + [f"{most} connections at once"] * (most > soak.rooms + ONLOOKERS)


def _write(soak: Soak, out: Path) -> None:
    with (out / "soak.csv").open("w", newline="") as file:
        rows = csv.DictWriter(file, [item.name for item in fields(Sample)])
        rows.writeheader()
        rows.writerows(asdict(sample) for sample in soak.samples)
    shown = {
        "daemon, MiB": "rss_mib",
        "workers, MiB": "workers_rss_mib",
        "threads": "threads",
        "open files": "files",
        "connections": "connections",
        "streams live": "live",
    }
    series = {title: [float(getattr(sample, name)) for sample in soak.samples] for title, name in shown.items()}
    draw(out / "soak.png", [sample.second for sample in soak.samples], series, soak.faults)


async def _clips(out: Path) -> tuple[Clip, Clip]:
    """A room without a face, and one that shows a protected person."""
    path = out / "moving.mp4"
    await asyncio.to_thread(write_clip, path, (picture(n, WIDTH, HEIGHT) for n in range(round(FPS * SECONDS))))
    shown = await make_clips(ROOMS[:1], cache_dir=out / "clips", networks_dir=out / "networks")
    return load_clip(path), shown[ROOMS[0].name]


async def _add_rooms(options: argparse.Namespace, hls: LiveRooms, rtmp: LiveRtmp, proxy: SpoiltProxy) -> list[str]:
    plain, person = await _clips(options.out)
    urls = []
    for number in range(options.hls):
        # Spread over the segment's two seconds, as rooms of strangers are.
        clip, age = (person if number % 25 == 1 else plain), ON_AIR_S + number % 20 / 10
        url = await hls.add(f"hls-{number}", clip, on_air_for_s=age)
        urls.append(proxy.pass_on(url) if number == options.hls - 1 else url)
    for number in range(options.rtmp):
        urls.append(await rtmp.add(f"rtmp-{number}", plain, on_air_for_s=number % 20 / 10))
    return urls


async def run(options: argparse.Namespace) -> list[str]:
    """The soak; what is to be complained of."""
    async with AsyncExitStack() as stack:
        hls = await stack.enter_async_context(LiveRooms())
        rtmp = await stack.enter_async_context(LiveRtmp())
        session = await stack.enter_async_context(aiohttp.ClientSession())
        proxy = SpoiltProxy(await stack.enter_async_context(http_server()), session)
        urls = await _add_rooms(options, hls, rtmp, proxy)
        streams = [
            {"id": f"room-{n}", "url": url, "platform": "soak", "account": f"a{n}", "room": f"room-{n}"}
            for n, url in enumerate(urls)
        ]
        folder = await stack.enter_async_context(
            daemon_folder(
                options.out / "daemon",
                streams=streams,
                receivers=[{"type": "log", "name": "log"}],
                streams_settings={"sample_interval": options.interval},
            )
        )
        folder.configure(faces={"workers": options.workers})
        await folder.start()
        await folder.ready(timeout_s=60)
        soak = Soak(options, folder, hls, rtmp, proxy)
        if missing := await soak.well(60):
            return [f"not everything came up: {missing}"]
        print(f"all {soak.rooms} rooms live after {soak.second:.1f} s", flush=True)
        soak.began = time.monotonic()
        measuring = asyncio.create_task(_measure(soak))
        try:
            await asyncio.sleep(min(FAULT_S, options.minutes * 12))
            await _inject(soak)
            await asyncio.sleep(max(0.0, options.minutes * 60 - soak.second))
        finally:
            measuring.cancel()
            await asyncio.gather(measuring, return_exceptions=True)
            _write(soak, options.out)
        tracebacks = folder.log.count("Traceback")
        code = await folder.stop()
        ends = [f"{tracebacks} tracebacks in the log"] * bool(tracebacks) + [f"exit code {code}"] * bool(code)
        return [*soak.failures, *_growth(soak), *ends]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for results")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--hls", type=int, default=100)
    parser.add_argument("--rtmp", type=int, default=20)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--interval", type=float, default=4.0, help="sample_interval of all rooms, seconds")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    complaints = asyncio.run(run(options))
    for complaint in complaints:
        print(f"FAILED: {complaint}")
    print("FAILED" if complaints else "PASSED")
    sys.exit(bool(complaints))


if __name__ == "__main__":
    main()
