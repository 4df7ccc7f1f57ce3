"""Made-up packets for what needs no real video."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from fractions import Fraction

from monitor.streams.packet import Packet, VideoFormat

FORMAT = VideoFormat(codec="h264", extradata=None, width=320, height=180, time_base=Fraction(1, 1000))


def packet(pts: int, *, key: bool = False, dts: int | None = None, size: int = 100) -> Packet:
    """A packet shown at ``pts`` milliseconds."""
    return Packet(
        data=bytes(size),
        pts=pts,
        dts=pts if dts is None else dts,
        is_keyframe=key,
        received_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def gop(start: int, length: int = 10, *, step: int = 100, size: int = 100) -> list[Packet]:
    """A keyframe at ``start`` milliseconds and ``length - 1`` packets behind it."""
    return [packet(start + index * step, key=index == 0, size=size) for index in range(length)]


def times(packets: Sequence[Packet]) -> list[int]:
    """The presentation times."""
    return [item.pts for item in packets]
