"""One process runs the networks for several workers; whatever ends, workers are served again and told the truth."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import pytest_asyncio
from faces.pictures import Picture, room_picture
from faces.processes import children
from prometheus_client import CollectorRegistry
from support.waiting import wait_for

from monitor.errors import FrameLossReason, FrameLost, PackError
from monitor.faces import loading
from monitor.faces.analyser import FaceAnalyser
from monitor.faces.config import FacesConfig
from monitor.faces.inference import link, process
from monitor.faces.inference.link import InferenceClient, Network, Request
from monitor.faces.inference.micro_batch import LARGEST
from monitor.faces.inference.process import InferenceProcesses, is_shared
from monitor.faces.inference.sharing import sharing
from monitor.faces.metrics import FacesMetrics
from monitor.faces.pool import VisionPool
from monitor.faces.providers import GraphicsCard, Precision, precisions


@pytest.fixture(scope="module")
def shared_config(faces_config: FacesConfig) -> FacesConfig:
    return faces_config.model_copy(update={"shared_inference": True})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def processes(shared_config: FacesConfig) -> AsyncIterator[InferenceProcesses]:
    started = InferenceProcesses(shared_config)
    await started.start()
    yield started
    await started.aclose()
    assert not inference_processes()


def inference_processes(*, besides: Collection[psutil.Process] = ()) -> list[psutil.Process]:
    return [child for child in children("monitor.faces.inference.server") if child not in besides]


Connect = Callable[[InferenceProcesses], Awaitable[InferenceClient]]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Makes clients as workers have them; they end with the test."""
    with contextlib.ExitStack() as open_until_then:

        async def connected(processes: InferenceProcesses) -> InferenceClient:
            async with processes.line() as line:
                descriptor, memory = (os.dup(descriptor) for descriptor in line.descriptors)
            connection = open_until_then.enter_context(socket.socket(fileno=descriptor))
            return InferenceClient(connection, link.map_memory(memory))

        yield connected


async def sharing_analyser(processes: InferenceProcesses, config: FacesConfig, connect: Connect) -> FaceAnalyser:
    return sharing(config, await connect(processes), await processes.start(), None)


async def test_faces_are_those_of_a_worker_with_its_own_networks(
    connect: Connect,
    processes: InferenceProcesses,
    shared_config: FacesConfig,
    analyser: FaceAnalyser,
    portraits: dict[str, Picture],
) -> None:
    shared = await sharing_analyser(processes, shared_config, connect)
    pictures = [*map(room_picture, portraits.values()), np.rot90(room_picture(portraits["astronaut"])).copy()]
    for picture in pictures:
        found = await asyncio.to_thread(shared.faces, picture)
        expected = analyser.faces(picture)
        assert len(found) == len(expected) > 0
        for one, other in zip(found, expected, strict=True):
            assert one.box.overlap(other.box) > 0.999
            assert one.embedding is not None
            assert other.embedding is not None
            assert one.embedding @ other.embedding >= 0.9999


async def test_an_insightface_pack_is_shared_too(
    connect: Connect, shared_config: FacesConfig, insightface_folder: Path, portraits: dict[str, Picture]
) -> None:
    config = shared_config.model_copy(update={"pack": "buffalo_l", "pack_dir": insightface_folder})
    own = loading.load(config.model_copy(update={"shared_inference": False}))
    processes = InferenceProcesses(config)
    pack = await processes.start()
    try:
        assert pack == own.info
        shared = sharing(config, await connect(processes), pack, (640, 640))
        picture = room_picture(portraits["obama_official_portrait"])
        (found,), (expected,) = await asyncio.to_thread(shared.faces, picture), own.faces(picture)
        assert found.box.overlap(expected.box) > 0.999
        assert found.embedding is not None
        assert expected.embedding is not None
        assert found.embedding @ expected.embedding >= 0.9999
    finally:
        await processes.aclose()


async def test_workers_that_ask_at_once_each_get_their_own_answer(
    connect: Connect, processes: InferenceProcesses, shared_config: FacesConfig, portraits: dict[str, Picture]
) -> None:
    pictures = [room_picture(portrait) for portrait in portraits.values()]
    workers = [await sharing_analyser(processes, shared_config, connect) for _ in pictures]
    alone = [await asyncio.to_thread(workers[0].faces, picture) for picture in pictures]
    for _ in range(5):
        looks = [asyncio.to_thread(worker.faces, picture) for worker, picture in zip(workers, pictures, strict=True)]
        for found, expected in zip(await asyncio.gather(*looks), alone, strict=True):
            assert [face.box for face in found] == [face.box for face in expected]
            assert found[0].embedding is not None
            assert expected[0].embedding is not None
            assert found[0].embedding @ expected[0].embedding >= 0.9999


async def test_more_crops_than_a_batch_holds_are_embedded(processes: InferenceProcesses, connect: Connect) -> None:
    client = await connect(processes)
    crops = list(np.random.default_rng(1).integers(0, 256, (LARGEST + 3, 112, 112, 3), dtype=np.uint8))
    together = await asyncio.to_thread(client.features, crops)
    assert together.shape == (LARGEST + 3, 128)
    last = await asyncio.to_thread(client.features, crops[-1:])
    np.testing.assert_allclose(together[-1], last[0], atol=1e-2)


async def test_a_worker_that_asks_nonsense_is_not_heard_and_the_others_are(
    processes: InferenceProcesses, connect: Connect
) -> None:
    async with processes.line() as line:
        hostile = socket.socket(fileno=os.dup(line.descriptors[0]))
    with hostile:
        hostile.send(b"\xff" * 10)
        assert await asyncio.to_thread(hostile.recv, 100) == b""
    client = await connect(processes)
    assert (await asyncio.to_thread(client.features, [np.zeros((112, 112, 3), np.uint8)])).shape == (1, 128)
    assert processes.count == 1


async def ask_without_end(worker: socket.socket) -> None:
    worker.setblocking(False)
    greedy = Request(network=Network.RECOGNISER, count=LARGEST, height=112, width=112, offset=0).encode()
    for _ in range(10_000):
        with contextlib.suppress(BlockingIOError):
            worker.send(greedy)
        await asyncio.sleep(0.001)


async def test_a_worker_that_asks_without_end_is_not_heard_any_more(
    processes: InferenceProcesses, connect: Connect
) -> None:
    async with processes.line() as line:
        hostile = socket.socket(fileno=os.dup(line.descriptors[0]))
    with hostile:
        with pytest.raises(ConnectionError):
            await ask_without_end(hostile)
        client = await connect(processes)
        assert (await asyncio.to_thread(client.features, [np.zeros((112, 112, 3), np.uint8)])).shape == (1, 128)


async def test_a_worker_that_ends_while_it_waits_costs_the_others_nothing(
    processes: InferenceProcesses, connect: Connect
) -> None:
    async with processes.line() as line:
        gone = socket.socket(fileno=os.dup(line.descriptors[0]))
    gone.send(Request(network=Network.DETECTOR, count=1, height=384, width=640, offset=0).encode())
    gone.close()
    client = await connect(processes)
    assert (await asyncio.to_thread(client.features, [np.zeros((112, 112, 3), np.uint8)])).shape == (1, 128)


async def test_when_the_process_ends_the_frame_is_lost_and_the_next_is_served(
    shared_config: FacesConfig, photo_files: dict[str, bytes]
) -> None:
    others = inference_processes()
    registry = CollectorRegistry()
    pool = VisionPool(shared_config, FacesMetrics(registry))
    await pool.start()
    try:
        await pool.ready()
        data = photo_files["biden_white_house"]
        (expected,) = (await pool.analyse_image(data)).faces
        (before,) = inference_processes(besides=others)
        before.kill()
        await wait_for(
            lambda: registry.get_sample_value("monitor_faces_inference_processes") == 0,
            timeout_s=60,
            what="the process to have ended",
            every_s=0,
        )

        async def served() -> bool:
            try:
                (found,) = (await pool.analyse_image(data)).faces
            except FrameLost:
                return False
            return found.box == expected.box

        lost = 0
        while not await served():
            lost += 1
            # Both workers may be asked before the daemon knows that their networks are gone.
            assert lost <= 2
        (after,) = inference_processes(besides=others)
        assert after.pid != before.pid
        assert registry.get_sample_value("monitor_faces_inference_processes") == 1
    finally:
        await pool.aclose()
    assert not inference_processes(besides=others)


async def test_a_process_that_hangs_is_replaced_and_no_picture_is_blamed(
    shared_config: FacesConfig, photo_files: dict[str, bytes]
) -> None:
    others = inference_processes()
    pool = VisionPool(shared_config.model_copy(update={"job_timeout_s": 2.0}), FacesMetrics(CollectorRegistry()))
    await pool.start()
    try:
        await pool.ready()
        (hanging,) = inference_processes(besides=others)
        hanging.send_signal(signal.SIGSTOP)
        reasons = []
        for _ in range(10):
            try:
                assert len((await pool.analyse_image(photo_files["biden_white_house"])).faces) == 1
                break
            except FrameLost as error:
                reasons.append(error.reason)
        # One timeout may be the picture's own fault; the others are not held against it.
        assert set(reasons) == {FrameLossReason.TIMED_OUT}
        assert len(reasons) <= 5
        (after,) = inference_processes(besides=others)
        assert after.pid != hanging.pid
    finally:
        await pool.aclose()


async def test_pictures_under_way_when_the_process_is_killed_are_not_blamed(
    shared_config: FacesConfig, photo_files: dict[str, bytes]
) -> None:
    others = inference_processes()
    pool = VisionPool(shared_config, FacesMetrics(CollectorRegistry()))
    await pool.start()
    try:
        for _ in range(3):
            await pool.ready()
            (process,) = inference_processes(besides=others)
            process.send_signal(signal.SIGSTOP)
            looking = asyncio.ensure_future(pool.analyse_image(photo_files["biden_white_house"]))
            await asyncio.wait([looking], timeout=1)
            process.kill()
            with pytest.raises(FrameLost) as lost:
                await looking
            assert lost.value.reason is FrameLossReason.WORKER_DIED
        assert len((await pool.analyse_image(photo_files["biden_white_house"])).faces) == 1
    finally:
        await pool.aclose()


async def test_workers_are_spread_over_the_graphics_cards(shared_config: FacesConfig) -> None:
    """The one worker and the spare one have a card each: the end of a card's process ends one of them."""
    others, registry = inference_processes(), CollectorRegistry()
    pool = VisionPool(shared_config.model_copy(update={"gpus": (0, 1), "workers": 1}), FacesMetrics(registry))
    await pool.start()
    try:
        await pool.ready()
        first, _ = inference_processes(besides=others)
        first.kill()
        await wait_for(
            lambda: registry.get_sample_value("monitor_faces_worker_exits_total") != 0,
            timeout_s=60,
            what="a worker to have ended",
        )
        await pool.ready()
        assert registry.get_sample_value("monitor_faces_worker_exits_total") == 1
    finally:
        await pool.aclose()
    assert not inference_processes(besides=others)


async def test_a_pack_that_cannot_be_loaded_is_told_in_its_own_words(
    shared_config: FacesConfig, tmp_path: Path
) -> None:
    others = inference_processes()
    pool = VisionPool(
        shared_config.model_copy(update={"pack": "buffalo_l", "pack_dir": tmp_path}), FacesMetrics(CollectorRegistry())
    )
    with pytest.raises(PackError, match="must hold exactly one detector"):
        await pool.start()
    await pool.aclose()
    assert not inference_processes(besides=others)


async def test_without_a_graphics_card_auto_goes_on_with_the_processor(
    faces_config: FacesConfig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(process, "_has_gpu_package", lambda: True)
    pool = VisionPool(faces_config.model_copy(update={"provider": "auto"}), FacesMetrics(CollectorRegistry()))
    await pool.start()
    assert pool.pack.provider in ("cpu", "openvino")
    await pool.aclose()
    assert "graphics_card_left_out" in caplog.text


@pytest.mark.parametrize(
    ("change", "shared"),
    [
        ({"provider": "cpu"}, False),
        ({"provider": "cpu", "shared_inference": True}, True),
        ({"provider": "openvino"}, False),
        ({"provider": "cuda"}, True),
        ({"provider": "tensorrt"}, True),
    ],
)
def test_a_graphics_card_is_always_shared(change: dict[str, object], shared: bool) -> None:
    assert is_shared(FacesConfig.model_validate(change)) is shared


def test_sharing_and_openvino_exclude_each_other() -> None:
    with pytest.raises(ValueError, match=r"not possible with faces\.provider openvino"):
        FacesConfig(provider="openvino", shared_inference=True)


def test_a_graphics_card_is_told_what_keeps_the_vectors_the_same(tmp_path: Path) -> None:
    card = GraphicsCard(number=3, cache_dir=tmp_path)
    assert card.options("CUDAExecutionProvider", Precision.FLOAT32)["use_tf32"] == "0"
    engines = card.options("TensorrtExecutionProvider", Precision.FLOAT16)
    assert engines["device_id"] == "3"
    assert engines["trt_fp16_enable"] == "1"
    assert card.options("TensorrtExecutionProvider", Precision.FLOAT32)["trt_fp16_enable"] == "0"
    assert Path(engines["trt_engine_cache_path"]).is_dir()
    assert precisions("tensorrt") == (Precision.FLOAT32, Precision.FLOAT16)
