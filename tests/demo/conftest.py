from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from monitor.demo.clip import Clip, Picture
from monitor.demo.face_swap import open_detector
from monitor.demo.portraits import OBAMA_OFFICIAL
from monitor.demo.rooms import ROOMS, DemoRoom
from monitor.faces.analyser import FaceAnalyser
from monitor.faces.config import FacesConfig
from monitor.faces.detect import Detector
from monitor.faces.loading import load


@pytest.fixture(scope="session")
def networks_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("networks")


@pytest.fixture(scope="session")
def detector(networks_dir: Path) -> Detector:
    return open_detector(networks_dir)


@pytest.fixture(scope="session")
def analyser(networks_dir: Path) -> FaceAnalyser:
    return load(FacesConfig(provider="cpu", cache_dir=networks_dir))


@pytest.fixture(scope="session")
def similarity(analyser: FaceAnalyser) -> Callable[[Picture], float]:
    """Cosine between the largest face of a picture and the gallery's portrait."""

    def embedding(picture: Picture) -> np.ndarray:
        face = max(analyser.faces(picture), key=lambda face: face.box.height)
        assert face.embedding is not None
        return face.embedding

    reference = embedding(OBAMA_OFFICIAL.read())
    return lambda picture: float(embedding(picture) @ reference)


@pytest.fixture(scope="session")
def clips_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clips")


@pytest.fixture(scope="session")
def room_clips(clips_dir: Path, networks_dir: Path) -> dict[str, Clip]:
    return {room.name: room.make_clip(clips_dir, networks_dir) for room in ROOMS}


@pytest.fixture(scope="session")
def clip(room_clips: dict[str, Clip]) -> Clip:
    return room_clips["obama-fan-shop"]


@pytest.fixture(params=ROOMS, ids=lambda room: room.name)
def room(request: pytest.FixtureRequest) -> DemoRoom:
    return request.param


def decoded(path: Path) -> list[Picture]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]


@pytest.fixture(scope="session")
def decode() -> Callable[[Path], list[Picture]]:
    return decoded
