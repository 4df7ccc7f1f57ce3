"""The VisionPool answers in order, loses only the frame that killed a worker, and never lets pixels out."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import cv2
import numpy as np
import onnx
import psutil
import pytest
import pytest_asyncio
from blockbuster import blockbuster_ctx
from faces.pictures import Picture, room_picture
from faces.processes import children, lives
from prometheus_client import CollectorRegistry
from support.waiting import wait_for

from monitor.errors import FrameLossReason, FrameLost, ImageRefused, PackError
from monitor.faces.analyser import FaceAnalyser
from monitor.faces.config import FacesConfig
from monitor.faces.crew import launch_worker
from monitor.faces.metrics import FacesMetrics
from monitor.faces.pool import VisionPool
from monitor.streams.packet import EncodedFrame

pytestmark = pytest.mark.asyncio(loop_scope="module")


def value(registry: CollectorRegistry, name: str, **labels: str) -> float:
    return registry.get_sample_value(name, labels) or 0.0


@pytest.fixture(scope="module", params=[False, True], ids=["own networks", "shared inference"])
def shared(request: pytest.FixtureRequest) -> bool:
    """As on the CPU, and as on a graphics card."""
    return bool(request.param)


@pytest.fixture(scope="module")
def registry(shared: bool) -> CollectorRegistry:
    return CollectorRegistry()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pool(faces_config: FacesConfig, shared: bool, registry: CollectorRegistry) -> AsyncIterator[VisionPool]:
    """One worker and the spare one; tests may kill either."""
    running = VisionPool(faces_config.model_copy(update={"shared_inference": shared}), FacesMetrics(registry))
    await running.start()
    yield running
    await running.aclose()
    assert not _worker_processes()


def _worker_processes() -> list[psutil.Process]:
    return children("monitor.faces.worker")


async def _job_in_a_stopped_worker(pool: VisionPool, frame: EncodedFrame) -> tuple[asyncio.Task[object], int]:
    """A job that is under way for ever, and the process that has it: stopped by a signal."""
    await pool.ready()
    for process in _worker_processes():
        process.send_signal(signal.SIGSTOP)
        task = asyncio.ensure_future(pool.analyse(frame))
        await asyncio.wait([task], timeout=2)
        if not task.done():
            return task, process.pid
        process.send_signal(signal.SIGCONT)
    raise AssertionError("no worker took the job")


async def test_a_keyframe_gives_its_faces_and_time(
    pool: VisionPool, face_frame: EncodedFrame, analyser: FaceAnalyser, portraits: dict[str, Picture]
) -> None:
    frame = dataclasses.replace(face_frame, instants=(face_frame.packets[0].pts,))
    (picture,) = await pool.analyse(frame)
    assert (picture.pts, picture.width, picture.height) == (0, 640, 360)
    (face,) = picture.faces
    assert face.embedding is not None
    assert face.embedding.dtype == np.float32
    (expected,) = analyser.faces(portraits["obama_official_portrait"])
    assert expected.embedding is not None
    assert face.embedding @ expected.embedding > 0.8
    assert pool.pack == analyser.info


async def test_several_instants_give_their_pictures_in_order(
    pool: VisionPool, make_clip: Callable[..., EncodedFrame], portraits: dict[str, Picture]
) -> None:
    shown = room_picture(portraits["astronaut"])
    empty = np.full_like(shown, 90)
    clip = [empty] * 5 + [shown] * 5 + [empty] * 5
    frame = make_clip(clip, instants=[0, 7 * 3000, 12 * 3000, 900 * 3000])
    pictures = await pool.analyse(frame)
    assert [(picture.pts, len(picture.faces)) for picture in pictures] == [(0, 0), (21000, 1), (36000, 0)]


async def test_an_image_file_gives_its_faces(pool: VisionPool, photo_files: dict[str, bytes]) -> None:
    picture = await pool.analyse_image(photo_files["obama_senate_portrait"])
    assert (picture.pts, picture.width, picture.height) == (0, 682, 785)
    assert len(picture.faces) == 1


async def test_what_is_no_picture_is_refused_and_the_worker_stays(
    pool: VisionPool, photo_files: dict[str, bytes]
) -> None:
    await pool.ready()
    before = {process.pid for process in _worker_processes()}
    for data in (b"", b"a text file\n", photo_files["biden_white_house"][:300]):
        with pytest.raises(ImageRefused):
            await pool.analyse_image(data)
    assert {process.pid for process in _worker_processes()} == before


async def test_a_garbage_packet_is_undecodable_and_the_worker_stays(
    pool: VisionPool, registry: CollectorRegistry, face_frame: EncodedFrame
) -> None:
    await pool.ready()
    before = {process.pid for process in _worker_processes()}
    lost = value(registry, "monitor_faces_frames_lost_total", reason="undecodable")
    for data in (b"\0" * 500, os.urandom(5000), face_frame.packets[0].data[:40]):
        packet = dataclasses.replace(face_frame.packets[0], data=data)
        with pytest.raises(FrameLost) as caught:
            await pool.analyse(dataclasses.replace(face_frame, packets=(packet,)))
        assert caught.value.reason is FrameLossReason.UNDECODABLE
    assert {process.pid for process in _worker_processes()} == before
    assert value(registry, "monitor_faces_frames_lost_total", reason="undecodable") == lost + 3
    assert await pool.analyse(face_frame)


async def test_evidence_is_two_jpeg_files(pool: VisionPool, face_frame: EncodedFrame) -> None:
    (picture,) = await pool.analyse(face_frame)
    box = picture.faces[0].box
    evidence = await pool.render(face_frame, picture.pts, box, "Barack Obama 0.83")
    whole = cv2.imdecode(np.frombuffer(evidence.frame_jpeg, np.uint8), cv2.IMREAD_COLOR)
    crop = cv2.imdecode(np.frombuffer(evidence.crop_jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert whole is not None
    assert crop is not None
    assert whole.shape == (360, 640, 3)
    assert 160 <= crop.shape[0] < 360


async def test_evidence_shows_bystanders_but_not_who_they_are(
    pool: VisionPool, make_clip: Callable[..., EncodedFrame], portraits: dict[str, Picture]
) -> None:
    pair = ("obama_official_portrait", "biden_white_house")
    frame = make_clip([np.hstack([room_picture(portraits[name], 320) for name in pair])])
    (picture,) = await pool.analyse(frame)
    shown, bystander = sorted(picture.faces, key=lambda face: face.box.x1)
    assert shown.embedding is not None
    assert bystander.embedding is not None
    evidence = await pool.render(frame, picture.pts, shown.box, "Barack Obama 0.83")
    for data in (evidence.frame_jpeg, evidence.crop_jpeg):
        found = [face.embedding for face in (await pool.analyse_image(data)).faces if face.embedding is not None]
        assert max(embedding @ shown.embedding for embedding in found) > 0.8
        assert max(embedding @ bystander.embedding for embedding in found) < 0.3


async def test_a_reference_crop_shows_the_face(pool: VisionPool, photo_files: dict[str, bytes]) -> None:
    data = photo_files["obama_official_portrait"]
    face = (await pool.analyse_image(data)).faces[0]
    again = await pool.analyse_image(await pool.crop_image(data, face.box))
    assert again.height < face.box.height * 2
    assert face.embedding is not None
    assert again.faces[0].embedding is not None
    assert again.faces[0].embedding @ face.embedding > 0.9


async def test_many_jobs_at_once_are_all_answered_and_the_loop_is_never_blocked(
    pool: VisionPool, face_frame: EncodedFrame
) -> None:
    longest: list[float] = []

    async def watch() -> None:
        longest.append(0.0)
        while True:
            # The thread's own processor time: what other processes take of a shared machine does not count.
            before = time.thread_time()
            await asyncio.sleep(0.005)
            longest[-1] = max(longest[-1], time.thread_time() - before)

    for _ in range(3):
        watcher = asyncio.ensure_future(watch())
        with blockbuster_ctx():
            answers = await asyncio.gather(*(pool.analyse(face_frame) for _ in range(12)))
        watcher.cancel()
        assert all(len(pictures[0].faces) == 1 for pictures in answers)
    # Not each time: some machines charge to a thread what they were taken away for.
    assert min(longest) < 0.05


async def test_a_caller_that_gives_up_disturbs_nobody(pool: VisionPool, face_frame: EncodedFrame) -> None:
    tasks = [asyncio.ensure_future(pool.analyse(face_frame)) for _ in range(6)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(result, asyncio.CancelledError) for result in results] == [True, False] * 3
    assert all(result[0].faces for result in results[1::2])


async def test_a_killed_worker_loses_its_frame_and_is_replaced_within_a_second(
    pool: VisionPool, registry: CollectorRegistry, face_frame: EncodedFrame
) -> None:
    lost = value(registry, "monitor_faces_frames_lost_total", reason="worker_died")
    task, pid = await _job_in_a_stopped_worker(pool, face_frame)
    (spare,) = (process for process in _worker_processes() if process.pid != pid)
    waiting = asyncio.ensure_future(pool.analyse(face_frame))
    started = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(FrameLost) as caught:
        await task
    assert caught.value.reason is FrameLossReason.WORKER_DIED
    assert (await waiting)[0].faces
    # A machine may stand still meanwhile; then at least it was the spare one, before there was another.
    assert time.monotonic() - started < 1.0 or (pool.workers == 1 and lives(spare))
    assert value(registry, "monitor_faces_frames_lost_total", reason="worker_died") == lost + 1
    await asyncio.wait_for(pool.ready(), 60)
    assert pool.workers == 2
    assert pid not in {process.pid for process in _worker_processes()}


async def test_a_spare_worker_that_dies_is_replaced(
    pool: VisionPool, registry: CollectorRegistry, face_frame: EncodedFrame
) -> None:
    await pool.ready()
    exits = value(registry, "monitor_faces_worker_exits_total")
    for process in _worker_processes():
        process.kill()
    await wait_for(
        lambda: value(registry, "monitor_faces_worker_exits_total") == exits + 2,
        timeout_s=60,
        what="both ends are counted",
    )
    assert (await pool.analyse(face_frame))[0].faces
    await asyncio.wait_for(pool.ready(), 60)
    assert value(registry, "monitor_faces_workers") == 2


async def test_workers_leave_interrupts_to_the_daemon(pool: VisionPool, face_frame: EncodedFrame) -> None:
    await pool.ready()
    before = {process.pid for process in _worker_processes()}
    for pid in before:
        os.kill(pid, signal.SIGINT)
        os.kill(pid, signal.SIGTERM)
    assert (await pool.analyse(face_frame))[0].faces
    assert {process.pid for process in _worker_processes()} == before


async def test_a_job_that_takes_too_long_is_lost_and_its_worker_replaced(
    faces_config: FacesConfig, face_frame: EncodedFrame
) -> None:
    registry = CollectorRegistry()
    impatient = VisionPool(faces_config.model_copy(update={"job_timeout_s": 3.0}), FacesMetrics(registry))
    await impatient.start()
    try:
        others = {process.pid for process in _worker_processes()}
        task, pid = await _job_in_a_stopped_worker(impatient, face_frame)
        with pytest.raises(FrameLost) as caught:
            await task
        assert caught.value.reason is FrameLossReason.TIMED_OUT
        assert (await impatient.analyse(face_frame))[0].faces
        await wait_for(lambda: not psutil.pid_exists(pid), timeout_s=60, what="the stuck worker is gone")
        assert others
        assert value(registry, "monitor_faces_frames_lost_total", reason="timed_out") == 1
    finally:
        await impatient.aclose()


async def test_closing_tells_every_caller(faces_config: FacesConfig, face_frame: EncodedFrame) -> None:
    closing = VisionPool(faces_config, FacesMetrics(CollectorRegistry()))
    await closing.start()
    task, _ = await _job_in_a_stopped_worker(closing, face_frame)
    queued = asyncio.ensure_future(closing.analyse(face_frame))
    await asyncio.sleep(0)
    await closing.aclose()
    for lost in (task, queued, closing.analyse(face_frame)):
        with pytest.raises(FrameLost) as caught:
            await lost
        assert caught.value.reason is FrameLossReason.CLOSING
    assert closing.workers == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"provider": "tensorrt"}, "tensorrt is not installed here"),
        ({"pack": "buffalo_l"}, r"needs faces\.pack_dir"),
        ({"cache_dir": Path("/dev/null/cache")}, r"faces\.cache_dir"),
    ],
)
async def test_a_pack_that_cannot_be_loaded_fails_the_start_in_the_workers_words(
    faces_config: FacesConfig, change: dict[str, object], message: str
) -> None:
    unusable = VisionPool(faces_config.model_copy(update=change), FacesMetrics(CollectorRegistry()))
    with pytest.raises(PackError, match=message):
        await unusable.start()
    await unusable.aclose()
    assert unusable.workers == 0


async def test_a_worker_imports_from_where_the_daemon_does(
    faces_config: FacesConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "numpy.py").write_text("raise RuntimeError('not this one')")
    monkeypatch.chdir(tmp_path)
    worker = await launch_worker(faces_config)
    assert worker.alive
    await worker.aclose()
    assert not worker.alive


@pytest.mark.parametrize(("sharing", "processes"), [(False, 2), (True, 3)], ids=["own networks", "shared inference"])
async def test_workers_end_when_the_daemon_is_killed(faces_cache: Path, sharing: bool, processes: int) -> None:
    code = (
        "import asyncio, sys, pathlib, psutil\n"
        "from prometheus_client import CollectorRegistry\n"
        "from monitor.faces.config import FacesConfig\n"
        "from monitor.faces.metrics import FacesMetrics\n"
        "from monitor.faces.pool import VisionPool\n"
        "async def main():\n"
        "    sharing = sys.argv[2] == 'True'\n"
        "    cache = pathlib.Path(sys.argv[1])\n"
        "    config = FacesConfig(provider='cpu', cache_dir=cache, workers=1, shared_inference=sharing)\n"
        "    pool = VisionPool(config, FacesMetrics(CollectorRegistry()))\n"
        "    await pool.start(); await pool.ready()\n"
        "    print(*(child.pid for child in psutil.Process().children()), flush=True)\n"
        "    await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    daemon = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, str(faces_cache), str(sharing), stdout=subprocess.PIPE
    )
    assert daemon.stdout is not None
    workers = [psutil.Process(int(pid)) for pid in (await asyncio.wait_for(daemon.stdout.readline(), 120)).split()]
    assert len(workers) == processes
    workers[-1].send_signal(signal.SIGSTOP)  # one that is stuck in a job ends too
    daemon.kill()
    await daemon.wait()
    await wait_for(lambda: not any(map(lives, workers)), timeout_s=60, what="the workers have ended")


async def test_workers_with_other_files_than_the_first_are_not_used(
    tmp_path: Path, insightface_folder: Path, faces_config: FacesConfig, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("scrfd.onnx", "sface.onnx"):
        (tmp_path / name).write_bytes((insightface_folder / name).read_bytes())
    config = faces_config.model_copy(update={"pack": "buffalo_s", "pack_dir": tmp_path})
    changing = VisionPool(config, FacesMetrics(CollectorRegistry()))
    await changing.start()
    try:
        await changing.ready()
        changed = onnx.load(tmp_path / "sface.onnx")
        changed.doc_string = "the same network in another file"
        onnx.save(changed, tmp_path / "sface.onnx")
        _worker_processes()[-1].kill()
        await wait_for(lambda: "files were changed" in caplog.text, timeout_s=60, what="the other files are refused")
    finally:
        await changing.aclose()
