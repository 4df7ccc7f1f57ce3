"""Cuts a clip that repeats for ever into MPEG-TS segments whose clock and counters go on from one to the next."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping

import av

from monitor.demo.clip import Clip, add_clip_stream, mux_packets

_TS_PACKET = 188
_SYNC_BYTE = 0x47
_HAS_PAYLOAD = 0x10
_FIRST_STREAM_S = 10
"""Where the stream's clock starts: libav moves negative decoding times, which would leave a gap after the first."""


class SegmentCutter:
    """Makes any segment of an endless stream from its number alone; holds no media but the clip."""

    def __init__(self, clip: Clip) -> None:
        """Takes some milliseconds: every segment of the clip is made once to count its packets."""
        self._clip = clip
        self._groups = clip.segments()
        self._counted: list[Mapping[int, int]] = [Counter()]
        for index in range(len(self._groups)):
            found = Counter(self._counted[-1])
            found.update(_payload_packets(self._remuxed(index)))
            self._counted.append(found)

    @property
    def durations_s(self) -> tuple[float, ...]:
        """Seconds of each segment of one repetition."""
        starts = [group[0].pts for group in self._groups]
        ends = [*starts[1:], self._clip.duration]
        return tuple(float((b - a) * self._clip.time_base) for a, b in zip(starts, ends, strict=True))

    def segment(self, number: int) -> bytes:
        """Segment ``number`` of the stream, from 0, as MPEG-TS: it starts with tables and a keyframe.

        Its timestamps and continuity counters (ISO/IEC 13818-1, 2.4.3.3) follow those of the one before.
        """
        repetition, index = divmod(number, len(self._groups))
        before = Counter({pid: count * repetition for pid, count in self._counted[-1].items()})
        before.update(self._counted[index])
        return _recounted(self._remuxed(number), before)

    def _remuxed(self, number: int) -> bytes:
        repetition, index = divmod(number, len(self._groups))
        shift = repetition * self._clip.duration + int(_FIRST_STREAM_S / self._clip.time_base)
        buffer = io.BytesIO()
        with av.open(buffer, "w", format="mpegts", options={"mpegts_copyts": "1"}) as output:
            stream = add_clip_stream(output, self._clip)
            mux_packets(output, stream, self._clip, self._groups[index], shift)
        return buffer.getvalue()


def _recounted(data: bytes, before: Mapping[int, int]) -> bytes:
    """``data`` with each PID's continuity counter going on after ``before`` packets with payload."""
    counts = Counter(before)
    counted = bytearray(data)
    for start in range(0, len(counted), _TS_PACKET):
        pid = (counted[start + 1] & 0x1F) << 8 | counted[start + 2]
        flags = counted[start + 3]
        counted[start + 3] = flags & 0xF0 | (counts[pid] - (0 if flags & _HAS_PAYLOAD else 1)) & 0x0F
        counts[pid] += 1 if flags & _HAS_PAYLOAD else 0
    return bytes(counted)


def _payload_packets(data: bytes) -> Counter[int]:
    """How many transport packets with payload each PID has."""
    found: Counter[int] = Counter()
    for start in range(0, len(data), _TS_PACKET):
        if data[start] != _SYNC_BYTE:
            raise ValueError(f"no transport packet at byte {start}")
        if data[start + 3] & _HAS_PAYLOAD:
            found[(data[start + 1] & 0x1F) << 8 | data[start + 2]] += 1
    return found
