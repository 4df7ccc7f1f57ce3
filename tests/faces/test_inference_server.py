"""The inference process refuses networks that give other vectors, and ends where a card never answers."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from typing import NoReturn

import numpy as np
import pytest
from faces.pictures import Picture
from numpy.typing import NDArray

from monitor.errors import PackError
from monitor.faces.analyser import FaceAnalyser
from monitor.faces.config import FacesConfig
from monitor.faces.inference import graph, link, networks, server
from monitor.faces.inference.bound_network import BoundNetwork
from monitor.faces.inference.link import Network, Request
from monitor.faces.inference.networks import Networks


@pytest.fixture
def shared_config(faces_config: FacesConfig) -> FacesConfig:
    return faces_config.model_copy(update={"shared_inference": True})


class Hanging:
    """A network whose card never answers."""

    def run(self, pictures: Picture) -> NoReturn:
        threading.Event().wait()
        raise AssertionError


@contextlib.contextmanager
def served(loaded: Networks) -> Iterator[tuple[socket.socket, threading.Thread]]:
    """A worker's socket to a server in a thread of this process, and that thread; it ends with the block."""
    daemon, theirs = socket.socketpair()
    ours, worker = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    memory = link.make_memory()
    with theirs, ours:
        with daemon:
            with worker:
                socket.send_fds(daemon, [b"\0"], [worker.fileno(), memory])
            os.close(memory)
            serving = threading.Thread(target=server.Server(loaded, FacesConfig()).serve, args=(theirs,), daemon=True)
            serving.start()
            yield ours, serving
        serving.join(timeout=20)
        assert not serving.is_alive()


def test_a_card_that_never_answers_ends_the_process(monkeypatch: pytest.MonkeyPatch, analyser: FaceAnalyser) -> None:
    monkeypatch.setattr(server, "STUCK_S", 0.2)
    hanging = Networks(info=analyser.info, detector=Hanging(), recogniser=Hanging())  # type: ignore[arg-type]
    with served(hanging) as (worker, serving):
        worker.send(Request(network=Network.DETECTOR, count=1, height=32, width=32, offset=0).encode())
        serving.join(timeout=20)
        assert not serving.is_alive()


def test_a_size_that_the_detector_does_not_take_is_refused_before_it_breaks_there(analyser: FaceAnalyser) -> None:
    hanging = Networks(
        info=analyser.info,
        detector=Hanging(),  # type: ignore[arg-type]
        recogniser=Hanging(),  # type: ignore[arg-type]
        fixed_size=(640, 640),
    )
    with served(hanging) as (worker, _):
        worker.send(Request(network=Network.DETECTOR, count=1, height=384, width=640, offset=0).encode())
        worker.settimeout(20)
        assert worker.recv(100) == b""


def test_networks_that_give_other_vectors_in_batches_are_refused(
    shared_config: FacesConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rewritten = graph.recogniser_graph
    monkeypatch.setattr(graph, "recogniser_graph", lambda model, **_: rewritten(model, mean=60.0, std=1.0))
    with pytest.raises(PackError, match=r"no provider gives the vectors of the CPU: cpu float32 .*refused"):
        networks.load(shared_config, 0)


def test_a_detector_that_finds_other_cells_in_batches_is_refused(
    shared_config: FacesConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some exports lay the pictures of a batch between each other: what is alone right is wrong in company."""
    alone = BoundNetwork.run

    def mixed(network: BoundNetwork, pictures: Picture) -> NDArray[np.float32]:
        found = alone(network, pictures)
        return found[::-1] if found.ndim == 3 and len(found) > 1 else found

    monkeypatch.setattr(BoundNetwork, "run", mixed)
    with pytest.raises(PackError, match="refused"):
        networks.load(shared_config, 0)


def test_a_precision_that_the_provider_has_not_is_refused(shared_config: FacesConfig) -> None:
    with pytest.raises(PackError, match=r"faces\.precision float16: cpu cannot compute in it here; set it to auto"):
        networks.load(shared_config.model_copy(update={"precision": "float16"}), 0)


def test_auto_takes_the_processor_where_the_card_does_not_start(
    shared_config: FacesConfig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(networks, "available", lambda: ("cpu", "cuda"))
    assert networks.load(shared_config.model_copy(update={"provider": "auto"}), 0).info.provider == "cpu"
    assert "provider_left_out provider=cuda" in caplog.text
