"""A worker that holds hostile data is limited in memory, files and rights, and has none of the daemon's secrets."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
from faces.processes import children, lives
from prometheus_client import CollectorRegistry
from support.waiting import wait_for

from monitor.errors import FrameLossReason, FrameLost, PackError
from monitor.faces.config import FacesConfig
from monitor.faces.crew import launch_worker
from monitor.faces.metrics import FacesMetrics
from monitor.faces.pool import VisionPool
from monitor.faces.quarantine import digest, frame_sample
from monitor.streams.packet import EncodedFrame

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="the limits are Linux's")
LIMITED = """
import resource, sys
from monitor.faces.confinement import limit_memory
limit_memory(300_000_000)
held = []
try:
    while True:
        held.append(bytearray(10_000_000))
except MemoryError:
    print(len(held))
"""


@contextlib.asynccontextmanager
async def running_pool(config: FacesConfig, registry: CollectorRegistry | None = None) -> AsyncIterator[VisionPool]:
    pool = VisionPool(config, FacesMetrics(registry or CollectorRegistry()))
    await pool.start()
    try:
        await pool.ready()
        yield pool
    finally:
        await pool.aclose()


def workers() -> list[psutil.Process]:
    return children("monitor.faces.worker")


def facts(pid: int, name: str) -> dict[str, str]:
    """The lines of a file in /proc, by their first words."""
    lines = Path(f"/proc/{pid}/{name}").read_text().splitlines()
    if name == "limits":
        return {line[:26].strip(): line[26:].split()[0] for line in lines[1:]}
    return dict(line.split(":\t", 1) for line in lines)


@linux_only
def test_memory_without_bound_is_refused_at_the_limit() -> None:
    done = subprocess.run([sys.executable, "-c", LIMITED], capture_output=True, text=True, timeout=30, check=True)
    assert 20 <= int(done.stdout) <= 30


@linux_only
async def test_every_worker_is_confined_before_its_first_job(
    faces_config: FacesConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MONITOR_WEBHOOK_SECRET", "whsec_nobody_may_see_this")
    monkeypatch.setenv("DB_PASSWORD", "nor this")
    async with running_pool(faces_config):
        found = workers()
        assert len(found) == 2
        for worker in found:
            limits = facts(worker.pid, "limits")
            mapped = int(facts(worker.pid, "status")["VmPeak"].split()[0]) * 1024
            room = int(limits["Max address space"]) - mapped
            assert 0 < room <= faces_config.worker_memory_bytes
            assert limits["Max core file size"] == "0"
            assert int(limits["Max open files"]) <= 32
            assert facts(worker.pid, "status")["NoNewPrivs"] == "1"
            assert "SECRET" not in " ".join(worker.environ())
            assert "DB_PASSWORD" not in worker.environ()


@linux_only
async def test_a_picture_that_needs_more_memory_than_a_worker_may_take_is_lost_alone(
    faces_config: FacesConfig, make_clip: Callable[..., EncodedFrame], face_frame: EncodedFrame
) -> None:
    config = faces_config.model_copy(update={"worker_memory_bytes": 200_000_000})
    huge = make_clip([np.zeros((4992, 4992, 3), np.uint8)] * 4, instants=[0, 9_000], b_frames=2)
    async with running_pool(config) as pool:
        with pytest.raises(FrameLost) as caught:
            await pool.analyse(huge)
        assert caught.value.reason in (FrameLossReason.UNDECODABLE, FrameLossReason.WORKER_DIED)
        assert (await pool.analyse(face_frame))[0].faces
    async with running_pool(faces_config) as pool:
        assert len(await pool.analyse(huge)) == 2


@linux_only
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give its rights up")
async def test_a_worker_of_root_gives_its_rights_up_and_still_works(
    faces_config: FacesConfig, face_frame: EncodedFrame, photo_files: dict[str, bytes]
) -> None:
    async with running_pool(faces_config.model_copy(update={"worker_user": "nobody"})) as pool:
        assert (await pool.analyse(face_frame))[0].faces
        assert (await pool.analyse_image(photo_files["obama_official_portrait"])).faces
        for worker in workers():
            assert worker.uids().real == worker.uids().effective == worker.uids().saved != 0
            assert int(facts(worker.pid, "status")["CapEff"], 16) == 0


async def test_a_user_that_is_not_there_fails_the_start_by_name(faces_config: FacesConfig) -> None:
    config = faces_config.model_copy(update={"worker_user": "no-such-user"})
    with pytest.raises(PackError, match=r"faces\.worker_user 'no-such-user'"):
        await launch_worker(config)


async def _kill_over(pool: VisionPool, frame: EncodedFrame, number: signal.Signals) -> FrameLost:
    """Let ``frame`` end its worker by the signal ``number``, as hostile data would."""
    await pool.ready()
    for worker in workers():
        worker.send_signal(signal.SIGSTOP)
        task = asyncio.ensure_future(pool.analyse(frame))
        await asyncio.wait([task], timeout=2)
        if not task.done():
            worker.send_signal(number)
            worker.send_signal(signal.SIGCONT)
            with pytest.raises(FrameLost) as caught:
                await task
            return caught.value
        worker.send_signal(signal.SIGCONT)
    raise AssertionError("no worker took the job")


async def test_a_frame_that_crashes_two_workers_is_refused_with_its_digest_and_others_go_on(
    faces_config: FacesConfig, face_frame: EncodedFrame, caplog: pytest.LogCaptureFixture
) -> None:
    registry = CollectorRegistry()
    poison = dataclasses.replace(
        face_frame, packets=(dataclasses.replace(face_frame.packets[0], pts=7),), instants=(7,)
    )
    spoilt = face_frame.packets[0].data + b"\0"
    poison = dataclasses.replace(poison, packets=(dataclasses.replace(poison.packets[0], data=spoilt),))
    async with running_pool(faces_config, registry) as pool:
        for stream_id in ("a", "b"):
            await pool.ready()
            before = workers()
            lost = await _kill_over(pool, dataclasses.replace(poison, stream_id=stream_id), signal.SIGSEGV)
            assert lost.reason is FrameLossReason.WORKER_DIED
            begun = time.monotonic()
            assert (await pool.analyse(face_frame))[0].faces
            # A machine may stand still meanwhile; then at least it was the spare one, before there was another.
            assert time.monotonic() - begun < 1.0 or (pool.workers == 1 and any(map(lives, before)))
        exits = registry.get_sample_value("monitor_faces_worker_exits_total")
        with pytest.raises(FrameLost) as caught:
            await pool.analyse(dataclasses.replace(poison, stream_id="c"))
        assert caught.value.reason is FrameLossReason.QUARANTINED
        sha256 = digest(frame_sample(poison))
        assert sha256 in str(caught.value)
        assert f"frame_quarantined sha256={sha256}" in caplog.text
        await wait_for(lambda: pool.workers == 2, timeout_s=60, what="both workers are back")
        assert registry.get_sample_value("monitor_faces_worker_exits_total") == exits == 2
        lost_as = {"reason": "quarantined"}
        assert registry.get_sample_value("monitor_faces_frames_lost_total", lost_as) == 1
        assert registry.get_sample_value("monitor_faces_quarantined") == 1


async def test_a_frame_that_keeps_two_workers_busy_for_ever_is_refused(
    faces_config: FacesConfig, face_frame: EncodedFrame
) -> None:
    spoilt = dataclasses.replace(face_frame.packets[0], data=face_frame.packets[0].data + b"\0\0")
    poison = dataclasses.replace(face_frame, packets=(spoilt,))
    async with running_pool(faces_config.model_copy(update={"job_timeout_s": 2.0})) as pool:
        reasons = []
        for _ in range(2):
            await pool.ready()
            for worker in workers():
                worker.send_signal(signal.SIGSTOP)
            with pytest.raises(FrameLost) as caught:
                await pool.analyse(poison)
            reasons.append(caught.value.reason)
            for worker in workers():
                with contextlib.suppress(psutil.NoSuchProcess):
                    worker.send_signal(signal.SIGCONT)
        with pytest.raises(FrameLost) as refused:
            await pool.analyse(poison)
        assert reasons == [FrameLossReason.TIMED_OUT] * 2
        assert refused.value.reason is FrameLossReason.QUARANTINED
        assert (await pool.analyse(face_frame))[0].faces
