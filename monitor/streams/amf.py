"""AMF0 values (Adobe, Action Message Format 0, 2007), which carry RTMP's commands and FLV's metadata."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

from monitor.errors import StreamError, StreamReason

AmfValue = float | bool | str | None | Mapping[str, "AmfValue"] | Sequence["AmfValue"]

_NUMBER, _BOOLEAN, _STRING, _OBJECT, _NULL, _UNDEFINED, _REFERENCE = 0, 1, 2, 3, 5, 6, 7
_ECMA_ARRAY, _OBJECT_END, _STRICT_ARRAY, _DATE, _LONG_STRING = 8, 9, 10, 11, 12
_MOST_DEPTH = 8
_MOST_VALUES = 4096


def encode_amf(*values: AmfValue) -> bytes:
    """Values as AMF0."""
    return b"".join(_encoded(value) for value in values)


def decode_amf(data: bytes) -> tuple[AmfValue, ...]:
    """All values in ``data``, up to the first of a kind that neither commands nor metadata have.

    :raises StreamError: BAD_DATA, also for more than 4096 values or values that are nested too deep.
    """
    reader = _Reader(data)
    values = []
    try:
        while reader.has_known_value():
            values.append(reader.value(_MOST_DEPTH))
    except (struct.error, IndexError, UnicodeDecodeError) as err:
        raise StreamError(StreamReason.BAD_DATA, "a broken AMF value") from err
    return tuple(values)


def decode_command(body: bytes) -> tuple[str, float, tuple[AmfValue, ...]]:
    """Name, transaction and arguments of a command message.

    :raises StreamError: BAD_DATA, when it is no command.
    """
    values = decode_amf(body)
    if len(values) < 2 or not isinstance(values[0], str) or not isinstance(values[1], float):
        raise StreamError(StreamReason.BAD_DATA, "a command without name and number")
    return values[0], values[1], values[2:]


def _encoded(value: AmfValue) -> bytes:
    if value is None:
        return bytes([_NULL])
    if isinstance(value, bool):
        return bytes([_BOOLEAN, value])
    if isinstance(value, str):
        return bytes([_STRING]) + _encoded_name(value)
    if isinstance(value, Mapping):
        members = b"".join(_encoded_name(name) + _encoded(member) for name, member in value.items())
        return bytes([_OBJECT]) + members + bytes([0, 0, _OBJECT_END])
    if isinstance(value, Sequence):
        return bytes([_STRICT_ARRAY]) + len(value).to_bytes(4, "big") + encode_amf(*value)
    return bytes([_NUMBER]) + struct.pack(">d", value)


def _encoded_name(text: str) -> bytes:
    data = text.encode()
    return len(data).to_bytes(2, "big") + data


class _Reader:
    """Walks through encoded values; runs into IndexError or struct.error where they end too soon."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._left = _MOST_VALUES

    def has_known_value(self) -> bool:
        known = (_NUMBER, _BOOLEAN, _STRING, _OBJECT, _NULL, _UNDEFINED, _REFERENCE, _ECMA_ARRAY, _STRICT_ARRAY)
        return self._at < len(self._data) and self._data[self._at] in (*known, _DATE, _LONG_STRING)

    def value(self, depth: int) -> AmfValue:
        self._left -= 1
        if not depth or self._left < 0:
            raise StreamError(StreamReason.BAD_DATA, "too many AMF values, or nested too deep")
        kind = self._take(1)[0]
        if kind == _NUMBER:
            return float(struct.unpack(">d", self._take(8))[0])
        if kind == _BOOLEAN:
            return bool(self._take(1)[0])
        if kind in (_STRING, _LONG_STRING):
            return self._text(2 if kind == _STRING else 4)
        if kind in (_OBJECT, _ECMA_ARRAY):
            # The length that an ECMA array announces is often wrong; its end is marked.
            self._take(4 if kind == _ECMA_ARRAY else 0)
            return self._members(depth)
        if kind == _STRICT_ARRAY:
            return [self.value(depth - 1) for _ in range(self._size(4))]
        if kind == _DATE:
            return float(struct.unpack(">d2x", self._take(10))[0])
        if kind == _REFERENCE:
            self._take(2)
        elif kind not in (_NULL, _UNDEFINED):
            raise StreamError(StreamReason.BAD_DATA, "an AMF value of no known kind")
        return None

    def _members(self, depth: int) -> dict[str, AmfValue]:
        members: dict[str, AmfValue] = {}
        while True:
            name = self._text(2)
            if not name and self._data[self._at] == _OBJECT_END:
                self._at += 1
                return members
            members[name] = self.value(depth - 1)

    def _text(self, width: int) -> str:
        return self._take(self._size(width)).decode(errors="replace")

    def _size(self, width: int) -> int:
        return int.from_bytes(self._take(width), "big")

    def _take(self, count: int) -> bytes:
        data = self._data[self._at : self._at + count]
        if len(data) < count:
            raise IndexError(count)
        self._at += count
        return data
