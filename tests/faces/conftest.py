"""Portraits, clips and a loaded pack for the tests of face analysis."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import skimage.data
from faces.pictures import Picture, room_picture

from monitor.faces import loading
from monitor.faces.analyser import FaceAnalyser
from monitor.faces.config import FacesConfig
from monitor.streams.packet import EncodedFrame, Packet, VideoFormat

ROOT = Path(__file__).parents[2]
ClipMaker = Callable[..., EncodedFrame]


@pytest.fixture(scope="session")
def faces_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("faces-cache")


@pytest.fixture(scope="session")
def faces_config(faces_cache: Path) -> FacesConfig:
    return FacesConfig(provider="cpu", cache_dir=faces_cache, workers=1)


@pytest.fixture(scope="session")
def analyser(faces_config: FacesConfig) -> FaceAnalyser:
    return loading.load(faces_config)


@pytest.fixture(scope="session")
def photo_files() -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in (ROOT / "monitor/demo/photos").glob("*.jpg")}


@pytest.fixture(scope="session")
def portraits(photo_files: dict[str, bytes]) -> dict[str, Picture]:
    """Two of one person, one of another, and a third person; BGR."""
    pictures = {
        name: np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), np.uint8)
        for name, data in photo_files.items()
    }
    pictures["astronaut"] = np.ascontiguousarray(skimage.data.astronaut()[:, :, ::-1])
    return pictures


@pytest.fixture(scope="session")
def make_clip() -> ClipMaker:
    """Encodes pictures into one GOP: ``make_clip(pictures, instants=..., codec=...)``; a frame is 3000 ticks long."""

    def make(
        pictures: Sequence[Picture], instants: Sequence[int] = (0,), codec: str = "libx264", b_frames: int = 0
    ) -> EncodedFrame:
        encoder = av.CodecContext.create(codec, "w")
        encoder.height, encoder.width = pictures[0].shape[:2]
        encoder.pix_fmt = "yuv420p" if codec != "mjpeg" else "yuvj420p"
        encoder.time_base = Fraction(1, 30)
        encoder.framerate = Fraction(30)
        if codec == "libx264":
            encoder.options = {"preset": "ultrafast", "g": "600", "bf": str(b_frames), "sc_threshold": "0", "qp": "12"}
        packets = []
        for index, picture in enumerate([*pictures, None]):
            shown = None if picture is None else av.VideoFrame.from_ndarray(picture, format="bgr24")
            if shown is not None:
                shown.pts, shown.time_base = index, encoder.time_base
            packets += encoder.encode(shown)
        now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
        return EncodedFrame(
            stream_id="room",
            epoch=0,
            format=VideoFormat(
                codec=encoder.codec.canonical_name,
                extradata=encoder.extradata,
                width=encoder.width,
                height=encoder.height,
                time_base=Fraction(1, 90000),
            ),
            packets=tuple(
                Packet(
                    data=bytes(packet),
                    pts=packet.pts * 3000,
                    dts=packet.dts * 3000,
                    is_keyframe=packet.is_keyframe,
                    received_at=now,
                )
                for packet in packets
            ),
            instants=tuple(instants),
        )

    return make


@pytest.fixture(scope="session")
def face_frame(make_clip: ClipMaker, portraits: dict[str, Picture]) -> EncodedFrame:
    """A 640 x 360 keyframe that shows one face."""
    return make_clip([room_picture(portraits["obama_official_portrait"])])


@pytest.fixture(scope="session")
def insightface_folder(faces_cache: Path, analyser: FaceAnalyser, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like an InsightFace pack's: a real SCRFD, and SFace as the recogniser."""
    scrfd = Path(os.environ.get("MONITOR_TEST_SCRFD", ROOT / "build/test-models/scrfd.onnx"))
    if not scrfd.is_file():
        pytest.skip(f"no SCRFD network at {scrfd}: MONITOR_TEST_SCRFD names one, `make test` fetches one")
    folder = tmp_path_factory.mktemp("insightface")
    (folder / "scrfd.onnx").write_bytes(scrfd.read_bytes())
    (folder / "sface.onnx").write_bytes(next(faces_cache.glob("*sface*.onnx")).read_bytes())
    (folder / "genderage.onnx").write_bytes(b"never loaded")
    return folder
