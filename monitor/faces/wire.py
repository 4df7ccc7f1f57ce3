"""What the pool and its workers say to each other: msgpack maps, each after its length as four bytes.

Never pickle: a worker handles what strangers broadcast, so its answers are data, checked on arrival.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from fractions import Fraction
from typing import Any

import msgpack
import numpy as np

from monitor.faces.face import (
    GRID_SIDE,
    Box,
    EvidencePictures,
    Face,
    PackInfo,
    PictureFaces,
    Quality,
    Settled,
    SettledFace,
)
from monitor.streams.packet import EncodedFrame, Packet, VideoFormat

HEADER = struct.Struct("!I")
MOST_MESSAGE_BYTES = 256 * 2**20

Message = Mapping[str, Any]


class Job(StrEnum):
    """What a worker can be asked to do: the message's ``job`` and the metric's label."""

    ANALYSE = "analyse"
    ANALYSE_IMAGE = "analyse_image"
    RENDER = "render"
    CROP_IMAGE = "crop_image"
    DECODE = "decode"


def encode(message: Message) -> bytes:
    """``message`` as bytes, its length in front."""
    body: bytes = msgpack.packb(message, use_bin_type=True)
    return HEADER.pack(len(body)) + body


def body_length(header: bytes) -> int:
    """:raises ValueError: if the message would be larger than ``MOST_MESSAGE_BYTES``."""
    length: int = HEADER.unpack(header)[0]
    if length > MOST_MESSAGE_BYTES:
        raise ValueError(f"a message of {length} bytes, at most {MOST_MESSAGE_BYTES} allowed")
    return length


def decode(body: bytes) -> Message:
    """:raises ValueError: if ``body`` is not one msgpack map."""
    try:
        message = msgpack.unpackb(body, raw=False)
    except (msgpack.exceptions.UnpackException, RecursionError) as error:
        raise ValueError("not a msgpack message") from error
    if not isinstance(message, dict):
        raise ValueError(f"a message is a map, not {type(message).__name__}")
    return message


def frame_to_wire(frame: EncodedFrame) -> Message:
    video = frame.format
    return {
        "stream_id": frame.stream_id,
        "epoch": frame.epoch,
        "codec": video.codec,
        "extradata": video.extradata,
        "size": [video.width, video.height],
        "time_base": [video.time_base.numerator, video.time_base.denominator],
        "packets": [
            [p.data, p.pts, p.dts, p.is_keyframe, p.received_at.timestamp(), p.is_recovery_point] for p in frame.packets
        ],
        "instants": list(frame.instants),
    }


def frame_from_wire(message: Message) -> EncodedFrame:
    width, height = message["size"]
    video = VideoFormat(
        codec=message["codec"],
        extradata=message["extradata"],
        width=width,
        height=height,
        time_base=Fraction(*message["time_base"]),
    )
    packets = tuple(
        Packet(
            data=data,
            pts=pts,
            dts=dts,
            is_keyframe=key,
            received_at=datetime.fromtimestamp(at, UTC),
            is_recovery_point=recovery,
        )
        for data, pts, dts, key, at, recovery in message["packets"]
    )
    return EncodedFrame(
        stream_id=message["stream_id"],
        epoch=message["epoch"],
        format=video,
        packets=packets,
        instants=tuple(message["instants"]),
    )


def box_to_wire(box: Box) -> Sequence[float]:
    return [box.x1, box.y1, box.x2, box.y2]


def box_from_wire(corners: Sequence[float]) -> Box:
    x1, y1, x2, y2 = (float(value) for value in corners)
    return Box(x1=x1, y1=y1, x2=x2, y2=y2)


def picture_to_wire(picture: PictureFaces) -> Message:
    return {
        "pts": picture.pts,
        "size": [picture.width, picture.height],
        "faces": [_face_to_wire(face) for face in picture.faces],
        "luma": picture.luma,
        "unchanged": picture.unchanged,
    }


def picture_from_wire(message: Message, dimension: int) -> PictureFaces:
    """:raises ValueError: if an embedding has not ``dimension`` values, or a field does not fit."""
    width, height = message["size"]
    faces = tuple(_face_from_wire(face, dimension) for face in message["faces"])
    return PictureFaces(
        pts=int(message["pts"]),
        width=int(width),
        height=int(height),
        faces=faces,
        luma=bytes(message["luma"]),
        unchanged=bool(message["unchanged"]),
    )


def settled_to_wire(settled: Settled) -> Message:
    faces = [[face.number, box_to_wire(face.box), _quality_to_wire(face.quality), face.grid] for face in settled.faces]
    return {"faces": faces, "luma": settled.luma}


def settled_from_wire(message: Message) -> Settled:
    faces = (
        SettledFace(number=number, box=box_from_wire(box), quality=_quality_from_wire(quality), grid=grid)
        for number, box, quality, grid in message["faces"]
    )
    return Settled(faces=tuple(faces), luma=message["luma"])


def evidence_from_wire(message: Message) -> EvidencePictures:
    return EvidencePictures(frame_jpeg=bytes(message["frame_jpeg"]), crop_jpeg=bytes(message["crop_jpeg"]))


def pack_to_wire(info: PackInfo) -> Message:
    return {name: getattr(info, name) for name in PackInfo.__dataclass_fields__}


def pack_from_wire(message: Message) -> PackInfo:
    return PackInfo(**message)


def _face_to_wire(face: Face) -> Message:
    return {
        "box": box_to_wire(face.box),
        "landmarks": face.landmarks.astype("<f4").tobytes(),
        "det_score": face.det_score,
        "quality": _quality_to_wire(face.quality),
        "embedding": None if face.embedding is None else face.embedding.astype("<f4").tobytes(),
        "grid": face.grid,
        "inset": None if face.inset is None else box_to_wire(face.inset),
        "settled": face.settled,
    }


def _face_from_wire(message: Message, dimension: int) -> Face:
    embedding = None
    if message["embedding"] is not None:
        embedding = np.frombuffer(message["embedding"], "<f4").astype(np.float32)
        if embedding.shape != (dimension,):
            raise ValueError(f"embedding has shape {embedding.shape}, expected ({dimension},)")
    grid = bytes(message["grid"])
    if len(grid) not in (0, GRID_SIDE**2):
        raise ValueError(f"a grid has {len(grid)} cells, expected {GRID_SIDE**2}")
    return Face(
        box=box_from_wire(message["box"]),
        landmarks=np.frombuffer(message["landmarks"], "<f4").astype(np.float32).reshape(5, 2),
        det_score=float(message["det_score"]),
        quality=_quality_from_wire(message["quality"]),
        embedding=embedding,
        grid=grid,
        inset=None if message["inset"] is None else box_from_wire(message["inset"]),
        settled=None if message["settled"] is None else int(message["settled"]),
    )


def _quality_to_wire(quality: Quality) -> Sequence[float | None]:
    return [getattr(quality, name) for name in Quality.__dataclass_fields__]


def _quality_from_wire(values: Sequence[float | None]) -> Quality:
    """:raises TypeError: if anything but the clarity, which there need not be, is missing."""
    measured: dict[str, Any] = dict(zip(Quality.__dataclass_fields__, values, strict=True))
    clarity = measured.pop("clarity")
    return Quality(
        clarity=None if clarity is None else float(clarity),
        **{name: float(value) for name, value in measured.items()},
    )
