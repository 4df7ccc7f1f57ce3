"""A room that is shown as a JPEG which is replaced again and again, instead of video: ``snapshot+https://...``.

Many platforms offer such an address beside the stream; it costs a fraction of the bytes. Registered as a plug-in
(:mod:`monitor.streams.kinds`), as anybody else's source would be.
"""

from __future__ import annotations

import asyncio
import hashlib
from fractions import Fraction

from monitor.errors import StreamError, StreamReason
from monitor.streams.kinds import SourceKind
from monitor.streams.packet import Packet, PacketSink, VideoFormat
from monitor.streams.reach import Reach

_PREFIX = "snapshot+"
_MAX_BYTES = 8_000_000
_TICK = Fraction(1, 1000)
# A feed takes a gap of more than 10 s in stream time for a new timeline, on which evidence begins anew.
_LONGEST_WAIT_S = 8.0
# Start-of-frame markers; C4, C8 and CC of the same range are other things (ITU-T T.81, table B.1).
_SIZES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_BARE = frozenset({0x01, *range(0xD0, 0xD8)})


def picture_address(url: str) -> str:
    """``snapshot+https://host/x`` -> ``https://host/x``."""
    return url.removeprefix(_PREFIX)


def jpeg_size(data: bytes) -> tuple[int, int]:
    """Width and height that a JPEG's header states (ITU-T T.81, B.2.2).

    :raises ValueError: it is no JPEG, or it ends before its frame header.
    """
    if data[:2] != b"\xff\xd8":
        raise ValueError("not a JPEG")
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            break
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
        elif marker in _BARE:
            at += 2
        elif marker in _SIZES and at + 9 <= len(data):
            height, width = int.from_bytes(data[at + 5 : at + 7]), int.from_bytes(data[at + 7 : at + 9])
            if not width or not height:
                break
            return width, height
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4])
    raise ValueError("a JPEG without a frame header")


class SnapshotSource:
    """Fetches the picture once in each sampling interval; the same bytes again are not a new picture."""

    def __init__(self, url: str, reach: Reach) -> None:
        self._address = picture_address(url)
        self._reach = reach

    @property
    def cadence_s(self) -> float:
        """The sampling interval, but not more than 8 s."""
        return min(self._reach.config.sample_interval, _LONGEST_WAIT_S)

    async def run(self, sink: PacketSink) -> None:
        """Fetch until something fails; a picture never comes to its end.

        :raises StreamError: the reason; BAD_DATA if what is there is no JPEG.
        """
        clock, begun = self._reach.clock, self._reach.clock.monotonic()
        size: tuple[int, int] | None = None
        shown = b""
        while True:
            asked = clock.monotonic()
            body = await self._picture()
            digest = hashlib.sha256(body).digest()
            if digest != shown:
                try:
                    found = jpeg_size(body)
                except ValueError as err:
                    raise StreamError(StreamReason.BAD_DATA, str(err)) from err
                if found != size:
                    size = found
                    sink.begin(
                        VideoFormat(codec="mjpeg", extradata=None, width=size[0], height=size[1], time_base=_TICK)
                    )
                pts = round((clock.monotonic() - begun) / _TICK)
                packet = Packet(data=body, pts=pts, dts=pts, is_keyframe=True, received_at=clock.utc())
                sink.push((packet,), len(body))
            shown = digest
            await asyncio.sleep(max(0.0, self.cadence_s - (clock.monotonic() - asked)))

    async def _picture(self) -> bytes:
        config = self._reach.config
        limit_s = config.open_timeout_s + config.read_timeout_s
        fetched = await self._reach.http.fetch(self._address, max_bytes=_MAX_BYTES, timeout_s=limit_s)
        return fetched.body


KIND = SourceKind(schemes=("snapshot+https", "snapshot+http"), address=picture_address, source=SnapshotSource)
