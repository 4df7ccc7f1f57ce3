"""Chunks come together to the messages that were sent, however they are cut, mixed and timed."""

from __future__ import annotations

import random
import tracemalloc

import pytest

from monitor.errors import StreamError, StreamReason
from monitor.streams.amf import AmfValue, decode_amf, decode_command, encode_amf
from monitor.streams.rtmp_chunks import (
    ABORT,
    CHUNK_SIZE,
    DATA,
    MOST_AT_ONCE,
    MOST_CHUNK_STREAMS,
    SET_CHUNK_SIZE,
    SOUND,
    VIDEO,
    ChunkReader,
    Message,
    chunked,
)

CHUNK_SIZES = [1, 128, 4096, 65536]
MOST = 1 << 20


def announced(size: int) -> bytes:
    return chunked(SET_CHUNK_SIZE, size.to_bytes(4, "big"))


def read(data: bytes, piece: int, reader: ChunkReader | None = None) -> list[Message]:
    reader = reader or ChunkReader(most_bytes=MOST)
    return [message for at in range(0, len(data), piece) for message in reader.feed(data[at : at + piece])]


def body(size: int) -> bytes:
    return random.Random(size).randbytes(size)


@pytest.mark.parametrize("chunk_size", CHUNK_SIZES)
@pytest.mark.parametrize("time_ms", [0, 0xFFFFFE, 0xFFFFFF, 0x1_0000_0005])
@pytest.mark.parametrize("piece", [1, 7, 4097, 1 << 20])
def test_a_message_is_put_together_again_from_its_chunks(chunk_size: int, time_ms: int, piece: int) -> None:
    bodies = [body(size) for size in (0, 1, 127, 128, 129, 4096, 4097, 12288, 20_000)]
    sent = b"".join(chunked(VIDEO, each, stream=1, time_ms=time_ms, chunk_size=chunk_size) for each in bodies)
    # Long times stand before every chunk: of a byte each, those are more than are taken at once.
    messages = read(announced(chunk_size) + sent, min(piece, 4097) if chunk_size == 1 else piece)
    assert [message.body for message in messages] == bodies
    assert {(message.kind, message.stream, message.time_ms) for message in messages} == {(9, 1, time_ms % (1 << 32))}


def chunk(head: int, number: int, *, time: int = 0, size: int = 0, kind: int = VIDEO, payload: bytes = b"") -> bytes:
    """One chunk by hand; a time above 24 bits goes into the longer field."""
    basic = bytes([head << 6 | number]) if 1 < number < 64 else bytes([head << 6, number - 64])
    fields = min(time, 0xFFFFFF).to_bytes(3) + size.to_bytes(3) + bytes([kind]) + (1).to_bytes(4, "little")
    long_time = time.to_bytes(4) if head < 3 and time >= 0xFFFFFF else b""
    return basic + fields[: (11, 7, 3, 0)[head]] + long_time + payload


@pytest.mark.parametrize("piece", [1, 5, 1000])
def test_what_a_header_leaves_out_is_as_before_and_times_add_up(piece: int) -> None:
    data = chunk(0, 6, time=1000, size=3, payload=b"abc")
    data += chunk(1, 6, time=40, size=2, payload=b"de")
    data += chunk(2, 6, time=20, payload=b"fg")
    data += chunk(3, 6, payload=b"hi") + chunk(3, 6, payload=b"jk")
    data += chunk(1, 300, time=7, size=1, payload=b"l") + chunk(2, 6, time=0x1000000, payload=b"mn")
    messages = read(data, piece)
    assert [(message.time_ms, message.body) for message in messages] == [
        (1000, b"abc"),
        (1040, b"de"),
        (1060, b"fg"),
        (1080, b"hi"),
        (1100, b"jk"),
        (7, b"l"),
        (1100 + 0x1000000, b"mn"),
    ]


@pytest.mark.parametrize("repeated", [True, False], ids=["as the specification says", "as some servers do"])
@pytest.mark.parametrize("piece", [1, 100, 1 << 20])
def test_a_long_time_may_or_may_not_be_repeated_before_the_pieces_that_follow(repeated: bool, piece: int) -> None:
    whole = body(500)
    for time_ms in (0xFFFFFF, 0x12345678):
        data = chunk(0, 6, time=time_ms, size=500, payload=whole[:128])
        for at in range(128, 500, 128):
            data += chunk(3, 6, payload=(time_ms.to_bytes(4) if repeated else b"") + whole[at : at + 128])
        data += chunk(0, 6, time=1, size=1, payload=b"x") + chunk(0, 7, time=2, size=1, payload=b"y")
        assert [(each.time_ms, each.body) for each in read(data, piece)] == [(time_ms, whole), (1, b"x"), (2, b"y")]


@pytest.mark.parametrize("piece", [1, 50, 1 << 20])
def test_messages_of_several_streams_may_be_mixed_chunk_by_chunk(piece: int) -> None:
    one, two = body(1000), body(700)
    data = b""
    for at in range(0, 1000, 128):
        data += chunk(3 if at else 0, 4, time=5, size=1000, payload=one[at : at + 128])
        if at < 700:
            data += chunk(3 if at else 0, 70, time=5, size=700, payload=two[at : at + 128])
    assert sorted(message.body for message in read(data, piece)) == sorted([one, two])


def test_an_aborted_message_is_forgotten_and_its_stream_goes_on() -> None:
    data = chunk(0, 6, time=5, size=200, payload=body(128))
    data += chunked(ABORT, (6).to_bytes(4)) + chunk(0, 6, time=9, size=2, payload=b"ok")
    assert [(message.time_ms, message.body) for message in read(data, 1000)] == [(9, b"ok")]


def test_what_is_not_wanted_is_neither_kept_nor_given_out() -> None:
    reader = ChunkReader(most_bytes=MOST, unwanted=frozenset((SOUND, DATA)), wants=lambda first: first == 0x17)
    kinds = [(SOUND, b"\xaf"), (DATA, b"\x02"), (VIDEO, b"\x27"), (VIDEO, b"\x17")]
    data = b"".join(chunked(kind, first + bytes(60_000)) for kind, first in kinds)
    assert len(read(announced(CHUNK_SIZE) + data, 1 << 20, reader)) == 1
    tracemalloc.start()
    reader.feed(data[:1000])
    before = tracemalloc.get_traced_memory()[0]
    for at in range(1000, 180_000, 1000):
        reader.feed(data[at : at + 1000])
    assert tracemalloc.get_traced_memory()[0] - before < 10_000
    tracemalloc.stop()
    assert reader.has_sound


def test_messages_under_way_never_take_more_than_twice_what_one_may() -> None:
    """58 streams with a message each, that go on a byte at a time."""
    reader = ChunkReader(most_bytes=100_000)
    reader.feed(announced(1))
    opened = b"".join(chunk(0, number, size=100_000, payload=b"\x17") for number in range(2, 60))
    more = b"".join(chunk(3, number, payload=b"x") for number in range(2, 60))
    tracemalloc.start()
    reader.feed(opened)
    with pytest.raises(StreamError) as refused:
        read(more * 4000, len(more), reader)
    assert refused.value.reason is StreamReason.TOO_LARGE
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (announced(0), StreamReason.BAD_DATA),
        (chunk(3, 6), StreamReason.BAD_DATA),
        (chunk(0, 6, size=200, payload=bytes(128)) + chunk(0, 6, size=201, payload=b""), StreamReason.BAD_DATA),
        (chunk(0, 6, size=MOST + 1, payload=bytes(128)), StreamReason.TOO_LARGE),
        (
            b"".join(chunk(0, 64 + number, size=1, payload=b"x") for number in range(MOST_CHUNK_STREAMS + 1)),
            StreamReason.BAD_DATA,
        ),
    ],
    ids=["chunk size", "unknown stream", "within another", "too large", "too many streams"],
)
def test_what_breaks_the_rules_is_named(data: bytes, reason: StreamReason) -> None:
    with pytest.raises(StreamError) as refused:
        read(data, 1 << 20)
    assert refused.value.reason is reason


@pytest.mark.parametrize(
    "data",
    [
        chunk(0, 6) + chunk(3, 6) * MOST_AT_ONCE,
        (chunk(0, 6, size=1, payload=b"x") + chunk(3, 6, payload=b"x") * MOST_AT_ONCE),
        announced(1)
        + b"".join(chunk(0, number, size=9_000, payload=b"x") for number in (6, 7))
        + (chunk(3, 6, payload=b"x") + chunk(3, 7, payload=b"x")) * (MOST_AT_ONCE // 2),
    ],
    ids=["empty messages", "messages of a byte", "chunks of a byte"],
)
def test_more_messages_at_once_than_any_room_sends_are_bad(data: bytes) -> None:
    reader = ChunkReader(most_bytes=MOST)
    with pytest.raises(StreamError) as refused:
        reader.feed(data)
    assert refused.value.reason is StreamReason.BAD_DATA
    assert reader.messages <= MOST_AT_ONCE


VALUES: list[AmfValue] = [1.5, True, False, "ä", None, {"a": 1.0, "b": {"c": "d"}}, [1.0, "x", None], {}]


def test_values_are_read_as_they_were_written() -> None:
    assert list(decode_amf(encode_amf(*VALUES))) == VALUES
    ecma = b"\x08\xff\xff\xff\xff" + encode_amf({"duration": 2.0})[1:]
    assert decode_amf(ecma + b"\x0b" + bytes(10) + b"\x0c\x00\x00\x00\x01x\x06\x07\x00\x01") == (
        {"duration": 2.0},
        0.0,
        "x",
        None,
        None,
    )
    assert decode_command(encode_amf("play", 4.0, None, "room")) == ("play", 4.0, (None, "room"))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00\x01",
        b"\x02\x00\x04play",
        b"\x02\x00\x01x\x00\x3f",
        encode_amf(1.0, "play"),
        b"\x03" + b"\x00\x01a\x03" * 50,
        b"\x0a\x00\xff\xff\xff" + b"\x05" * 10_000,
    ],
)
def test_a_broken_command_is_bad_data(data: bytes) -> None:
    with pytest.raises(StreamError) as refused:
        decode_command(data)
    assert refused.value.reason is StreamReason.BAD_DATA
