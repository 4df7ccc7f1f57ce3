"""The first keyframe of an MPEG-TS segment without a demuxer: the same as libav's, or none."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from fuzz.mutations import mutated
from support.video import clip_bytes, ts_segments

from monitor.clock import SystemClock
from monitor.streams.segment import demux_segment
from monitor.streams.ts_keyframe import first_keyframe

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PACKET = 188


def clip(**options: object) -> bytes:
    return clip_bytes(**{"seconds": 2.0, "fps": 10, "gop": 10, "container": "mpegts", **options})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"sound": True},
        {"width": 128, "height": 72},
        {"width": 1280, "height": 720, "noise": 20},
    ],
    ids=str,
)
def test_it_is_what_libav_finds(options: dict[str, object]) -> None:
    data = clip(**options)
    found = first_keyframe(data)
    video, packets = demux_segment(data, SystemClock(), NOW)
    assert found is not None
    assert (found.data, found.pts, found.dts) == (packets[0].data, packets[0].pts, packets[0].dts)
    assert packets[0].is_keyframe
    assert video.codec == "h264"
    assert all(unit in found.data for unit in found.parameters)


def test_pictures_out_of_order_have_both_times() -> None:
    data = ts_segments(seconds=4, bframes=2)[2]
    found = first_keyframe(data)
    packet = demux_segment(data, SystemClock(), NOW)[1][0]
    assert found is not None
    assert (found.data, found.pts, found.dts) == (packet.data, packet.pts, packet.dts)
    assert found.dts < found.pts


def test_every_segment_of_a_room_has_its_own_times(segments: list[bytes]) -> None:
    found = [first_keyframe(data) for data in segments]
    times = [one.pts / 90_000 for one in found if one]
    assert len(times) == len(segments)
    assert times == sorted(times)
    assert len({one.parameters for one in found if one}) == 1


def test_it_is_given_as_soon_as_it_is_complete_and_never_before() -> None:
    data = clip(sound=True)
    whole = first_keyframe(data)
    assert whole is not None
    for end in range(0, 2 * whole.needed, 61):
        found = first_keyframe(data[:end])
        assert (found == whole) if end >= whole.needed else (found is None)


@pytest.mark.parametrize(
    "data",
    [
        clip().replace(bytes([0x1B, 0xE1]), bytes([0x02, 0xE1])),
        clip(container="mp4"),
        b"",
        b"G" * 5000,
        bytes(5000),
        # It begins in the middle of a GOP.
        clip(gop=100)[-40 * PACKET :],
    ],
    ids=["mpeg-2", "mp4", "empty", "sync bytes", "zeros", "no keyframe"],
)
def test_anything_else_is_left_to_libav(data: bytes) -> None:
    assert first_keyframe(data) is None


def test_a_picture_that_is_damaged_or_scrambled_is_left_to_libav() -> None:
    data = bytearray(clip())
    found = first_keyframe(data)
    assert found is not None
    video = [at for at in range(0, found.needed, PACKET) if (data[at + 1] & 0x1F) << 8 | data[at + 2] == 0x100]
    for at in (video[0], video[len(video) // 2]):
        for offset, bit in ((1, 0x80), (3, 0x80)):
            spoilt = bytearray(data)
            spoilt[at + offset] |= bit
            assert first_keyframe(bytes(spoilt)) is None


def test_spoilt_bytes_give_a_keyframe_or_none_and_nothing_else() -> None:
    seeds = [clip(width=128, height=72, **more) for more in ({}, {"sound": True}, {"bframes": 2})]
    for case in range(3000):
        found = first_keyframe(mutated(seeds, case))
        assert found is None or (found.parameters and found.needed <= 2 * max(map(len, seeds)) * 20)


@pytest.fixture(scope="module")
def segments() -> list[bytes]:
    return ts_segments(seconds=4)
