"""The FLV parser gives what FFmpeg's gives, however the bytes are cut, and holds little."""

from __future__ import annotations

import io
import random
import tracemalloc

import av
import pytest
from support.flv import (
    AVCC,
    FILE_HEAD,
    HEADER,
    NOW,
    SCRIPT,
    SOUND,
    VIDEO,
    fed,
    formats,
    packets,
    picture,
    remuxed,
    tag,
    tags,
)
from support.video import clip_bytes

from monitor.errors import StreamError, StreamReason
from monitor.streams.flv import MOST_AT_ONCE, MOST_TAG_BYTES, FlvReader, tags_within
from monitor.streams.flv_video import FlvVideo
from monitor.streams.packet import Packet

PIECES = [1, 2, 3, 11, 15, 997, 4096, 1 << 20]
Told = tuple[int, int, bool, bytes]


def told_by_ffmpeg(data: bytes) -> tuple[bytes, list[Told]]:
    """The decoder's configuration, and each packet's pts, dts, flag and bytes."""
    with av.open(io.BytesIO(data), format="flv") as container:
        stream = container.streams.video[0]
        found = [(p.pts, p.dts, p.is_keyframe, bytes(p)) for p in container.demux(stream) if p.size]
        return bytes(stream.codec_context.extradata or b""), found


def told(items: list[Packet]) -> list[Told]:
    return [(packet.pts, packet.dts, packet.is_keyframe, packet.data) for packet in items]


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    """Made by FFmpeg: HEVC, AV1 and VP9 with the heads of Enhanced RTMP."""
    return {
        "h264": remuxed("libx264", bframes=2),
        "hevc": remuxed("libx265", bframes=2),
        "libdav1d": remuxed("libsvtav1", seconds=1.0),
        "vp9": remuxed("libvpx-vp9", seconds=1.0),
        "with sound": clip_bytes(seconds=2, gop=10, container="flv", sound=True, bframes=2),
    }


@pytest.mark.parametrize("name", ["h264", "hevc", "libdav1d", "vp9", "with sound"])
@pytest.mark.parametrize("size", PIECES)
def test_every_packet_is_as_ffmpeg_reads_it_in_pieces_of_any_size(
    files: dict[str, bytes], name: str, size: int
) -> None:
    extradata, expected = told_by_ffmpeg(files[name])
    assert len(expected) >= 20
    items = fed(FlvReader(keyframes_only=False).feed, files[name], size)
    assert told(packets(items)) == expected
    (video,) = formats(items)
    assert video.codec == ("h264" if name == "with sound" else name)
    if name in ("h264", "hevc", "with sound"):
        assert video.extradata == extradata


def test_hevc_as_it_was_carried_before_there_was_a_standard_is_read_too(files: dict[str, bytes]) -> None:
    older = FILE_HEAD
    for kind, time_ms, body in tags(files["hevc"]):
        if kind != VIDEO or body[0] & 0x0F not in (0, 1, 3):
            continue
        assert body[1:5] == b"hvc1"
        frame_type = (body[0] >> 4 & 7) << 4 | 12
        what = {0: b"\x00" + bytes(3), 1: b"\x01", 3: b"\x01" + bytes(3)}[body[0] & 0x0F]
        older += tag(VIDEO, bytes([frame_type]) + what + body[5:], time_ms)
    assert told(packets(fed(FlvReader(keyframes_only=False).feed, older, 100))) == told_by_ffmpeg(files["hevc"])[1]


def test_where_only_keyframes_are_wanted_all_other_pictures_are_left_out(files: dict[str, bytes]) -> None:
    for name in ("h264", "hevc"):
        expected = [packet for packet in told_by_ffmpeg(files[name])[1] if packet[2]]
        assert told(packets(fed(FlvReader(keyframes_only=True).feed, files[name], 1000))) == expected


def test_time_goes_on_where_32_bits_end_and_follows_a_jump_back() -> None:
    data = FILE_HEAD + tag(VIDEO, HEADER, 0xFFFF_FF00)
    for time_ms in (0xFFFF_FFF0, 0x1_0000_0010, 0x1_0100_0000, 40):
        data += tag(VIDEO, picture(), time_ms)
    times = [packet.dts for packet in packets(fed(FlvReader(keyframes_only=False).feed, data, 7))]
    assert times == [0xFFFF_FFF0, 0x1_0000_0010, 0x1_0100_0000, 0x1_0000_0028]


def test_a_picture_is_never_shown_before_it_is_decoded() -> None:
    data = FILE_HEAD + tag(VIDEO, HEADER)
    for number, offset in enumerate((0, 80, -40, 40)):
        data += tag(VIDEO, picture(key=not number, offset_ms=offset), 40 * number)
    read = packets(fed(FlvReader(keyframes_only=False).feed, data, 1000))
    assert [packet.pts for packet in read] == [0, 120, 40, 160]
    assert all(packet.dts <= packet.pts for packet in read)


def test_another_configuration_begins_an_epoch_and_the_same_one_again_does_not() -> None:
    other = HEADER + b"\x01"
    data = FILE_HEAD + b"".join(tag(VIDEO, body) for body in (HEADER, picture(), HEADER, picture(), other, picture()))
    read = fed(FlvReader(keyframes_only=False).feed, data, 1000)
    assert [type(item).__name__ for item in read] == ["VideoFormat", "Packet", "Packet", "VideoFormat", "Packet"]
    assert [video.extradata for video in formats(read)] == [AVCC, AVCC + b"\x01"]


def test_sound_is_noticed_and_not_kept() -> None:
    reader = FlvReader(keyframes_only=False)
    data = tag(SOUND, bytes(1 << 16))
    assert reader.feed(FILE_HEAD, NOW) == []
    tracemalloc.start()
    for _ in range(200):
        assert reader.feed(data, NOW) == []
    assert tracemalloc.get_traced_memory()[1] < 100_000
    tracemalloc.stop()
    assert reader.has_sound


def test_a_recording_says_how_long_it_is_and_a_live_room_does_not() -> None:
    for live, lasts in ((False, 1.0), (True, 0.0)):
        reader = FlvReader(keyframes_only=False)
        fed(reader.feed, clip_bytes(seconds=1, container="flv", live=live), 50)
        assert reader.duration_s == pytest.approx(lasts, abs=0.11)


ENHANCED_HEADER = b"\x90hvc1" + AVCC
MORE = b"\x97\x02\x00\x00\x05\x01hvc1"  # three bytes of an extension, then a picture with an offset


@pytest.mark.parametrize(
    "body",
    [
        b"\x93hvc1picture",
        b"\x91hvc1\x00\x00\x00picture",
        b"\x97\x02\x00\x00\x05\x03hvc1picture",
        b"\x97\xff\x00\x0f" + bytes(16) + b"\x03hvc1picture",
        b"\x96\x03hvc1\x00picture",
        b"\x96\x13hvc1\x00\x00\x00\x07picture\x01\x00\x00\x04more",
        b"\x96\x23hvc1\x00\x00\x00\x07pictureav01\x01\x00\x00\x04more",
    ],
    ids=["at once", "with offset", "extended", "long extension", "one track", "tracks", "tracks of several codecs"],
)
def test_the_first_track_of_every_enhanced_form_is_read(body: bytes) -> None:
    video = FlvVideo(keyframes_only=True)
    video.read([ENHANCED_HEADER], 0, NOW)
    read = video.read([body], 40, NOW)
    assert isinstance(read, Packet)
    assert (read.data, read.pts, read.is_keyframe) == (b"picture", 40, True)
    assert video.read([body[:3], body[3:]], 80, NOW) is not None


@pytest.mark.parametrize(
    "body", [b"", b"\x17", b"\x57\x00\x00\x00\x00\x00", b"\x17\x02\x00\x00\x00", b"\x94hvc1meta", b"\x92hvc1"]
)
def test_tags_without_a_picture_are_passed_over(body: bytes) -> None:
    video = FlvVideo(keyframes_only=False)
    video.read([HEADER], 0, NOW)
    assert video.read([body], 0, NOW) is None


OLDER_CODEC, OTHER_CODEC = b"\x12\x00\x00\x00\x00\x00", b"\x90vvc1\x00\x00"


@pytest.mark.parametrize("injected", [OLDER_CODEC, OTHER_CODEC], ids=["older", "enhanced"])
def test_a_tag_of_another_codec_does_not_end_a_room_that_is_watched(injected: bytes) -> None:
    before = FILE_HEAD + tag(VIDEO, injected) * 2
    data = before + tag(VIDEO, HEADER) + tag(VIDEO, picture()) + tag(VIDEO, injected) * 100 + tag(VIDEO, picture())
    assert len(packets(fed(FlvReader(keyframes_only=False).feed, data, 1000))) == 2


@pytest.mark.parametrize(
    "body",
    [b"\xa6\x01hvc1\x00\x00\x00\x00picture", b"\xa7\x02\x00\x00\x05\x01hvc1\x00\x00\x00picture"],
    ids=["of a track", "extended"],
)
def test_where_only_keyframes_are_wanted_no_form_of_another_picture_comes_out(body: bytes) -> None:
    for keyframes_only in (True, False):
        video = FlvVideo(keyframes_only=keyframes_only)
        video.read([ENHANCED_HEADER], 0, NOW)
        assert (video.read([body], 40, NOW) is None) == keyframes_only


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"FLV\x02" + FILE_HEAD[4:], StreamReason.BAD_DATA),
        (b"FLV\x01\x05\x7f\xff\xff\xff", StreamReason.BAD_DATA),
        (FILE_HEAD + bytes([77]) + bytes(10), StreamReason.BAD_DATA),
        (FILE_HEAD + tag(VIDEO, b"\x97\x7fhvc1" + bytes(200)), StreamReason.BAD_DATA),
        (FILE_HEAD + tag(VIDEO, HEADER + bytes(1 << 16)), StreamReason.BAD_DATA),
        (FILE_HEAD + bytes([9]) + (MOST_TAG_BYTES + 1).to_bytes(3) + bytes(7), StreamReason.TOO_LARGE),
        (FILE_HEAD + tag(VIDEO, OLDER_CODEC) * 10, StreamReason.UNSUPPORTED),
        (FILE_HEAD + tag(VIDEO, OTHER_CODEC) * 10, StreamReason.UNSUPPORTED),
        (FILE_HEAD + tag(VIDEO | 0x20, picture()), StreamReason.UNSUPPORTED),
    ],
    ids=["version", "head", "kind", "extension", "configuration", "size", "older codec", "codec", "encrypted"],
)
def test_what_cannot_be_read_is_named(data: bytes, reason: StreamReason) -> None:
    with pytest.raises(StreamError) as refused:
        fed(FlvReader(keyframes_only=False).feed, data, 5)
    assert refused.value.reason is reason
    assert refused.value.retryable is (reason is not StreamReason.UNSUPPORTED)


def test_noise_behind_a_head_is_soon_found_out() -> None:
    draw = random.Random(11)
    refused = 0
    for _ in range(100):
        try:
            fed(FlvReader(keyframes_only=False).feed, FILE_HEAD + draw.randbytes(2_000), 500)
        except StreamError as err:
            refused += err.reason in (StreamReason.BAD_DATA, StreamReason.TOO_LARGE, StreamReason.UNSUPPORTED)
    assert refused >= 85  # of 32 kinds of tags, four are known


def test_an_aggregate_that_ends_too_soon_is_bad() -> None:
    whole = tag(VIDEO, picture(), 5) + tag(SOUND, b"sound", 6)
    assert [(kind, time_ms) for kind, time_ms, _ in tags_within(whole)] == [(VIDEO, 5), (SOUND, 6)]
    with pytest.raises(StreamError):
        tags_within(whole[:20])


def test_more_tags_at_once_than_any_room_sends_are_bad() -> None:
    some = tag(VIDEO, b"") * MOST_AT_ONCE
    assert len(tags_within(some)) == MOST_AT_ONCE
    with pytest.raises(StreamError) as refused:
        tags_within(some + tag(SOUND, b""))
    assert refused.value.reason is StreamReason.BAD_DATA
    reader = FlvReader(keyframes_only=False)
    for at in range(0, len(FILE_HEAD + some), 1 << 15):
        reader.feed((FILE_HEAD + some)[at : at + (1 << 15)], NOW)
    with pytest.raises(StreamError) as refused:
        reader.feed(some + some, NOW)
    assert refused.value.reason is StreamReason.BAD_DATA


def test_scripts_that_cannot_be_read_hurt_nobody() -> None:
    data = FILE_HEAD + tag(SCRIPT, b"\x02\x00\xffshort") + tag(VIDEO, HEADER) + tag(VIDEO, picture())
    assert len(packets(fed(FlvReader(keyframes_only=False).feed, data, 1))) == 1
