"""What crosses the process border survives it, and is never a picture."""

from __future__ import annotations

from dataclasses import replace

import msgpack
import numpy as np
import pytest

from monitor.faces import wire
from monitor.faces.analyser import FaceAnalyser
from monitor.faces.decode import Decoder
from monitor.faces.desk import Desk
from monitor.faces.face import Box, Face, PictureFaces, Quality, Settled, SettledFace
from monitor.streams.packet import EncodedFrame


def _face(embedding: np.ndarray | None) -> Face:
    return Face(
        box=Box(x1=1.5, y1=2.5, x2=30, y2=40),
        landmarks=np.arange(10, dtype=np.float32).reshape(5, 2),
        det_score=0.75,
        quality=Quality(sharpness=55.5, brightness=101.0, clarity=None if embedding is None else 0.625),
        embedding=embedding,
        grid=b"" if embedding is None else bytes(range(200)) * 2,
        inset=None if embedding is None else Box(x1=1.25, y1=2, x2=50, y2=60),
    )


def _sent(message: wire.Message) -> wire.Message:
    data = wire.encode(message)
    header, body = data[: wire.HEADER.size], data[wire.HEADER.size :]
    assert wire.body_length(header) == len(body)
    return wire.decode(body)


def test_a_frame_survives(face_frame: EncodedFrame) -> None:
    assert wire.frame_from_wire(_sent(wire.frame_to_wire(face_frame))) == face_frame


def test_faces_survive() -> None:
    embedding = np.linspace(-1, 1, 128, dtype=np.float32)
    picture = PictureFaces(pts=90, width=640, height=360, faces=(_face(embedding), _face(None)))
    arrived = wire.picture_from_wire(_sent(wire.picture_to_wire(picture)), 128)
    assert (arrived.pts, arrived.width, arrived.height) == (90, 640, 360)
    first, second = arrived.faces
    assert first.box == picture.faces[0].box
    assert (first.quality, second.quality) == tuple(face.quality for face in picture.faces)
    np.testing.assert_array_equal(first.landmarks, picture.faces[0].landmarks)
    np.testing.assert_array_equal(first.embedding, embedding)
    assert second.embedding is None
    assert [(face.grid, face.inset) for face in arrived.faces] == [(face.grid, face.inset) for face in picture.faces]


def test_settled_faces_survive() -> None:
    quality = Quality(sharpness=55.5, brightness=101.0, yaw=-12.5)
    face = SettledFace(number=7, box=Box(x1=1.5, y1=2.5, x2=30, y2=40), quality=quality, grid=bytes(range(200)) * 2)
    settled = Settled(faces=(face,), luma=b"x" * 260)
    assert wire.settled_from_wire(_sent(wire.settled_to_wire(settled))) == settled
    picture = PictureFaces(pts=0, width=6, height=6, faces=(replace(_face(None), settled=7),))
    assert wire.picture_from_wire(_sent(wire.picture_to_wire(picture)), 128).faces[0].settled == 7


def test_a_grid_of_another_size_is_refused() -> None:
    face = replace(_face(None), grid=b"x" * 399)
    message = wire.picture_to_wire(PictureFaces(pts=0, width=6, height=6, faces=(face,)))
    with pytest.raises(ValueError, match="399 cells, expected 400"):
        wire.picture_from_wire(_sent(message), 128)


def test_an_embedding_of_another_size_is_refused() -> None:
    picture = PictureFaces(pts=0, width=6, height=6, faces=(_face(np.zeros(64, np.float32)),))
    with pytest.raises(ValueError, match=r"\(64,\), expected \(128,\)"):
        wire.picture_from_wire(_sent(wire.picture_to_wire(picture)), 128)


@pytest.mark.parametrize("body", [b"", b"\xc1", msgpack.packb([1]), msgpack.packb({"a": 1}) + b"x", b"\x91" * 5000])
def test_what_is_not_one_map_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"map|msgpack|[Uu]npack"):
        wire.decode(body)


def test_a_message_that_claims_to_be_huge_is_refused() -> None:
    with pytest.raises(ValueError, match="at most"):
        wire.body_length(b"\xff\xff\xff\xff")


def _binaries(content: object) -> list[bytes]:
    if isinstance(content, bytes):
        return [content]
    if isinstance(content, dict):
        return [found for item in content.values() for found in _binaries(item)]
    if isinstance(content, list | tuple):
        return [found for item in content for found in _binaries(item)]
    return []


def test_no_answer_holds_pixels(
    analyser: FaceAnalyser, face_frame: EncodedFrame, photo_files: dict[str, bytes]
) -> None:
    """Faces are landmarks, embeddings and coarse grids; only the two drawing jobs give pictures: JPEG files."""
    desk = Desk(analyser, Decoder())
    frame = wire.frame_to_wire(face_frame)
    image = photo_files["obama_senate_portrait"]
    box = [200, 100, 300, 250]
    # Landmarks, embeddings, an embedded face's 20 x 20 cells, and the picture's 16 x 16, empty for an image file.
    allowed = {5 * 2 * 4, analyser.info.dimension * 4, 20 * 20, 4 + 16 * 16, 0}
    analyse = {"job": "analyse", "frame": frame, "luma": None, "settled": None}
    for message in (analyse, {"job": "analyse_image", "data": image}):
        answer = desk.answer(message)
        assert _binaries(answer)
        assert {len(found) for found in _binaries(answer)} <= allowed
        assert len(wire.encode(answer)) < 2000
    drawn = desk.answer({"job": "render", "frame": frame, "box": box, "label": "x"})
    cropped = desk.answer({"job": "crop_image", "data": image, "box": box})
    assert all(found.startswith(b"\xff\xd8\xff") for found in _binaries(drawn) + _binaries(cropped))
