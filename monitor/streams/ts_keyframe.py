"""Takes the first keyframe out of the beginning of an MPEG-TS segment (ISO/IEC 13818-1) without a demuxer.

It reads only the plain case: one programme with one H.264 stream, a picture to a PES packet, parameter sets in front
of it. For all else it gives nothing, and libav is asked, which costs five times as much.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

_PACKET = 188
_SYNC = 0x47
_BAD, _START = 0x80, 0x40
_PLAIN = bytes(range(0x10, 0x20))
"""Fourth bytes of packets that hold nothing but payload."""
_VIDEO_IDS = range(0xE0, 0xF0)
# Stream types (ISO/IEC 13818-1, table 2-34; the last two are private uses for HEVC and others) with pictures.
_H264 = 0x1B
_PICTURES = frozenset({0x01, 0x02, 0x10, 0x1B, 0x1E, 0x1F, 0x20, 0x21, 0x24, 0x33, 0x42, 0xD1, 0xEA})
# NAL unit types (ITU-T H.264, table 7-1).
_SLICE, _IDR, _SPS, _PPS, _DELIMITER = 1, 5, 7, 8, 9
_CODE = b"\x00\x00\x01"
_MOST_UNITS = 64
_WRAP_MARGIN = 90_000 * 120
"""Time stamps so near to where they begin anew (33 bits) are left to libav, which puts them in order."""
_LAST_STAMP = (1 << 33) - _WRAP_MARGIN


@dataclass(frozen=True, slots=True, kw_only=True)
class TsKeyframe:
    """A segment's first keyframe."""

    data: bytes = field(repr=False)
    parameters: tuple[bytes, ...] = field(repr=False)
    """Sequence and picture parameter sets, as they stand in ``data``."""
    pts: int
    """In ticks of 1/90000 s."""
    dts: int
    needed: int
    """Bytes of the segment up to where this picture is known to be complete."""


def first_keyframe(data: bytes) -> TsKeyframe | None:
    """The first picture of ``data``, a segment's beginning, if that is a keyframe and the next picture begins in it."""
    count = len(data) // _PACKET
    if count < 4 or data[0 : count * _PACKET : _PACKET].count(_SYNC) != count:
        return None
    marks, lows = data[1 : count * _PACKET : _PACKET], data[2 : count * _PACKET : _PACKET]
    pid = _video_pid(data, marks, lows)
    if pid is None:
        return None
    begins = list(_starts(marks, lows, pid, most=2))
    if len(begins) < 2:
        return None
    pes = _payload(data, marks, lows, pid, *begins)
    return None if pes is None else _picture(pes, needed=(begins[1] + 1) * _PACKET)


def _starts(marks: bytes, lows: bytes, pid: int, *, most: int) -> Iterator[int]:
    """Indices of the packets of ``pid`` in which something begins."""
    high, low = _START | pid >> 8, pid & 0xFF
    at = -1
    while most and (at := marks.find(high, at + 1)) >= 0:
        if lows[at] == low:
            most -= 1
            yield at


def _payload(data: bytes, marks: bytes, lows: bytes, pid: int, begin: int, end: int) -> bytes | None:
    """What the packets of ``pid`` carry from index ``begin`` up to ``end``; None if any of it is damaged or hidden."""
    high, low = pid >> 8, pid & 0xFF
    if end - begin > 4:
        # Mostly all but the first and the last are alike, which is quicker seen and cut at once than one by one.
        middle = slice(begin + 1, end - 1)
        fourth = data[middle.start * _PACKET + 3 : middle.stop * _PACKET : _PACKET]
        if set(lows[middle]) == {low} and set(marks[middle]) == {high} and not fourth.translate(None, _PLAIN):
            ends = [_payload(data, marks, lows, pid, at, at + 1) for at in (begin, end - 1)]
            if ends[0] is None or ends[1] is None:
                return None
            return b"".join((ends[0], _without_heads(data[middle.start * _PACKET : middle.stop * _PACKET]), ends[1]))
    parts = []
    first, end = begin * _PACKET, end * _PACKET
    heads = zip(range(first, end, _PACKET), marks[begin:], lows[begin:], data[first + 3 : end : _PACKET], strict=False)
    for at, mark, of, flags in heads:
        if of != low or mark & 0x1F != high:
            continue
        if mark & _BAD or flags & 0xC0:
            return None
        if flags & 0x30 == 0x10:
            parts.append(data[at + 4 : at + _PACKET])
        elif flags & 0x10:
            # An adaptation field stands in front, with its length before it.
            if data[at + 4] >= _PACKET - 5:
                return None
            parts.append(data[at + 5 + data[at + 4] : at + _PACKET])
    return b"".join(parts)


def _without_heads(packets: bytes) -> bytearray:
    """The last 184 bytes of each packet."""
    cut = bytearray(packets)
    for length in range(_PACKET, _PACKET - 4, -1):
        del cut[::length]
    return cut


def _section(data: bytes, marks: bytes, lows: bytes, pid: int, table: int) -> bytes | None:
    """The body of the first table on ``pid``, if it fits into one packet."""
    index = next(_starts(marks, lows, pid, most=1), None)
    payload = None if index is None else _payload(data, marks, lows, pid, index, index + 1)
    if not payload or 1 + payload[0] + 8 > len(payload):
        return None
    section = payload[1 + payload[0] :]
    length = 3 + ((section[1] & 0x0F) << 8 | section[2])
    if section[0] != table or not 12 <= length <= len(section):
        return None
    # Between the eight bytes in front and the check sum.
    return section[8 : length - 4]


def _video_pid(data: bytes, marks: bytes, lows: bytes) -> int | None:
    """The PID of the only video, if that is H.264."""
    programmes = _section(data, marks, lows, 0, 0x00)
    if programmes is None:
        return None
    maps = [
        (programmes[at + 2] & 0x1F) << 8 | programmes[at + 3]
        for at in range(0, len(programmes) - 3, 4)
        if programmes[at] or programmes[at + 1]
    ]
    streams = _section(data, marks, lows, maps[0], 0x02) if len(maps) == 1 else None
    if streams is None or len(streams) < 4:
        return None
    found = []
    at = 4 + ((streams[2] & 0x0F) << 8 | streams[3])
    while at + 5 <= len(streams):
        if streams[at] in _PICTURES:
            found.append((streams[at], (streams[at + 1] & 0x1F) << 8 | streams[at + 2]))
        at += 5 + ((streams[at + 3] & 0x0F) << 8 | streams[at + 4])
    return found[0][1] if len(found) == 1 and found[0][0] == _H264 else None


def _picture(pes: bytes, *, needed: int) -> TsKeyframe | None:
    """The keyframe in a whole PES packet."""
    if len(pes) < 20 or pes[:3] != _CODE or pes[3] not in _VIDEO_IDS or pes[6] & 0xF0 != 0x80:
        return None
    flags, begin = pes[7] >> 6, 9 + pes[8]
    if flags not in (2, 3) or pes[8] < (5 if flags == 2 else 10) or begin >= len(pes):
        return None
    pts = _stamp(pes[9:14])
    dts = _stamp(pes[14:19]) if flags == 3 else pts
    data = pes[begin:]
    parameters = _parameters(data)
    if parameters is None or not dts <= pts < _LAST_STAMP:
        return None
    return TsKeyframe(data=data, parameters=parameters, pts=pts, dts=dts, needed=needed)


def _stamp(field: bytes) -> int:
    return (field[0] & 0x0E) << 29 | field[1] << 22 | (field[2] & 0xFE) << 14 | field[3] << 7 | field[4] >> 1


def _parameters(data: bytes) -> tuple[bytes, ...] | None:
    """The parameter sets of the one IDR picture that ``data`` consists of; None for anything else."""
    found: list[bytes] = []
    kinds: set[int] = set()
    pictures = 0
    at, last = data.find(_CODE), data.rfind(_CODE)
    if not 0 <= at <= 1:
        return None
    for _ in range(_MOST_UNITS):
        # Behind the last start code there is nothing to search for, and that is where nearly all of the picture is.
        following = data.find(_CODE, at + 3) if at < last else len(data)
        unit = data[at + 3 : following] if at < last else data[at + 3 : at + 5]
        kind = unit[0] & 0x1F if unit else 0
        if kind == _IDR:
            # The first slice of a picture begins with macroblock 0, in Exp-Golomb the bit 1.
            pictures += len(unit) > 1 and unit[1] >> 7
        elif kind == _SLICE or (kind == _DELIMITER and kinds):
            return None
        elif kind in (_SPS, _PPS):
            found.append(unit)
        kinds.add(kind)
        if at == last:
            return tuple(found) if pictures == 1 and {_SPS, _PPS, _IDR} <= kinds else None
        at = following
    return None
