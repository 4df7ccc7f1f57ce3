"""Ten thousand spoilt inputs: no parser dies, none connects anywhere, none eats the memory; the daemon goes on."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from fuzz import corpus
from fuzz.mutations import mutated
from support.hls import HttpServer, LiveHls, http_server, playlist, tcp_server
from support.video import ts_segments
from support.watching import QUICK, make_stream, until, watching

from monitor.streams.config import NetworkConfig
from monitor.streams.stream import StreamState

ROOT = Path(__file__).parents[2]
SHARES = {"playlist": 0.30, "mpegts": 0.15, "mp4": 0.15, "flv": 0.15, "rtmp": 0.15, "keyframe": 0.10}
MOST_RSS = 300 * 2**20
SLOWEST_S = 10.0
ROOMS = 48


@dataclass
class Report:
    """What a kind's cases came to."""

    outcomes: Counter[str] = field(default_factory=Counter)
    defects: list[str] = field(default_factory=list)
    crashes: list[str] = field(default_factory=list)
    connects: list[str] = field(default_factory=list)
    rss: int = 0
    slowest: tuple[float, int] = (0.0, -1)

    def add(self, answer: dict[str, object]) -> None:
        self.outcomes.update(answer["outcomes"])  # type: ignore[arg-type]
        self.defects += answer["defects"]  # type: ignore[operator]
        self.connects += answer["connects"]  # type: ignore[operator]
        self.rss = max(self.rss, int(answer["rss"]))  # type: ignore[call-overload]
        self.slowest = max(self.slowest, tuple(answer["slowest"]))  # type: ignore[arg-type]


async def run_cases(kind: str, folder: Path, count: int) -> Report:
    """Try ``count`` cases; one that ends the child is noted, and the next child goes on behind it."""
    report = Report()
    progress = folder / f"{kind}.progress"
    progress.write_bytes(bytes(8))
    first = 0
    while first < count and len(report.crashes) < 20:
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            str(ROOT / "tests/fuzz/child.py"),
            *(kind, str(folder), str(progress), str(first), str(count - first)),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])},
        )
        output, _ = await child.communicate()
        if child.returncode == 0:
            report.add(json.loads(output.splitlines()[-1]))
            break
        case = int.from_bytes(progress.read_bytes())
        report.crashes.append(f"{kind} case {case}: the process ended with {child.returncode}")
        first = case + 1
    return report


@pytest.fixture
async def trap() -> AsyncIterator[tuple[str, list[str]]]:
    """An address in all inputs that nothing may follow, and who did."""
    visitors: list[str] = []

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visitors.append((await reader.read(200)).decode(errors="replace"))

    async with tcp_server(count, host="127.0.0.2") as port:
        yield f"http://127.0.0.2:{port}", visitors


@pytest.mark.timeout(3600)
async def test_no_spoilt_input_ends_a_parser_or_leads_anywhere(
    tmp_path: Path, trap: tuple[str, list[str]], request: pytest.FixtureRequest
) -> None:
    address, visitors = trap
    cases = request.config.getoption("--fuzz-cases")
    await asyncio.to_thread(corpus.write, tmp_path, address)
    counts = {kind: round(cases * share) for kind, share in SHARES.items()}
    at_once = asyncio.Semaphore(2)

    async def one(kind: str) -> Report:
        async with at_once:
            return await run_cases(kind, tmp_path, counts[kind])

    reports = dict(zip(counts, await asyncio.gather(*map(one, counts)), strict=True))
    for kind, report in reports.items():
        seconds, case = report.slowest
        print(
            f"{kind}: {counts[kind]} cases, {dict(report.outcomes)}, RSS {report.rss / 2**20:.0f} MiB, "
            f"slowest {seconds:.2f} s (case {case})"
        )
    assert [crash for report in reports.values() for crash in report.crashes] == []
    assert [defect for report in reports.values() for defect in report.defects] == []
    assert [name for report in reports.values() for name in report.connects] == []
    assert visitors == []
    for kind, report in reports.items():
        assert report.outcomes.total() == counts[kind]
        assert len(report.outcomes) >= 2, f"{kind}: nothing was spoilt, or everything"
        assert report.rss < MOST_RSS
        assert report.slowest[0] < SLOWEST_S


def spoilt_room(server: HttpServer, number: int, seeds: dict[str, list[bytes]]) -> str:
    """A room of which one part is spoilt, as the number says."""
    kind = ("playlist", "mpegts", "mp4", "flv")[number % 4]
    data = mutated(seeds[kind], 1_000_000 + number)
    folder = f"/fuzz/{number}"
    if kind == "flv":
        return server.serve(f"{folder}/room.flv", data)
    if kind == "playlist":
        return server.serve(f"{folder}/index.m3u8", data)
    server.serve(f"{folder}/0.ts", data)
    return server.serve(f"{folder}/index.m3u8", playlist(["0.ts"]))


async def test_a_daemon_of_spoilt_rooms_keeps_the_healthy_one_live_and_goes_nowhere_else(
    trap: tuple[str, list[str]],
) -> None:
    address, visitors = trap
    seeds = {
        "playlist": corpus.playlists(address),
        "mpegts": corpus.transport_streams(),
        "mp4": corpus.fragments(address),
        "flv": corpus.pushed(address),
    }
    segments = await asyncio.to_thread(ts_segments, seconds=60, gop=5)
    async with http_server() as server:
        healthy = LiveHls(server, segments, name="healthy")
        rooms = [make_stream(spoilt_room(server, number, seeds), f"r{number}") for number in range(ROOMS)]
        only_this = NetworkConfig(allow=("127.0.0.1/32",))
        config = QUICK.model_copy(update={"opens_per_minute": 60})
        async with watching(*rooms, make_stream(healthy.url, "healthy"), network=only_this, config=config) as watch:
            await until(lambda: all(watch.status(f"r{n}").connects >= 2 for n in range(ROOMS)), within_s=40)
            seen = len(watch.frames["healthy"])
            await until(lambda: len(watch.frames["healthy"]) >= seen + 3, within_s=15)
            assert watch.status("healthy").state is StreamState.LIVE
            assert watch.status("healthy").connects == 1
    assert visitors == []
    for number in range(ROOMS):
        asked = sum(count for path, count in server.requests.items() if path.startswith(f"/fuzz/{number}/"))
        assert asked <= 60 + 60, f"room {number} was asked {asked} times"
