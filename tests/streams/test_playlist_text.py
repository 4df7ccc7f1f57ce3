"""What HLS playlists say: the examples of RFC 8216, section 8, and the places where parsers differ."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from urllib.parse import urljoin

import pytest

from monitor.errors import StreamError, StreamReason
from monitor.streams.http import ByteRange, Fetched
from monitor.streams.playlist import MediaPlaylist, Segment, SegmentKey, Variant, next_look_after
from monitor.streams.playlist_text import parse

URL = "https://example.com/live/room/index.m3u8?token=a/b"
FIRST = Segment(
    number=0,
    url="http://media.example.com/first.ts",
    part=None,
    seconds=9.009,
    discontinuity=False,
    init_url=None,
    init_part=None,
    key=None,
)


def media(text: str, url: str = URL) -> MediaPlaylist:
    found = parse(Fetched(url=url, body=text.encode()))
    assert isinstance(found, MediaPlaylist)
    return found


def variants(text: str) -> list[Variant]:
    found = parse(Fetched(url=URL, body=text.encode()))
    assert isinstance(found, list)
    return found


def test_a_simple_media_playlist() -> None:  # 8.1
    text = (
        "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXT-X-VERSION:3\n#EXTINF:9.009,\nhttp://media.example.com/first.ts\n"
        "#EXTINF:9.009,\nhttp://media.example.com/second.ts\n#EXTINF:3.003,\nhttp://media.example.com/third.ts\n"
        "#EXT-X-ENDLIST\n"
    )
    second = replace(FIRST, number=1, url="http://media.example.com/second.ts")
    third = replace(FIRST, number=2, url="http://media.example.com/third.ts", seconds=3.003)
    assert media(text) == MediaPlaylist(target_s=10, ended=True, segments=(FIRST, second, third))
    assert media(text.replace("\n", "\r\n")) == media(text)
    assert media("\ufeff" + text) == media(text)


def test_a_live_media_playlist_counts_from_its_sequence_number() -> None:  # 8.2
    playlist = media(
        "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:8\n#EXT-X-MEDIA-SEQUENCE:2680\n\n#EXTINF:7.975,\n"
        "https://priv.example.com/fileSequence2680.ts\n#EXTINF:7.941,a title, with commas\n"
        "https://priv.example.com/fileSequence2681.ts\n"
    )
    assert [(one.number, one.seconds) for one in playlist.segments] == [(2680, 7.975), (2681, 7.941)]
    assert not playlist.ended


def test_keys_hold_until_the_next_and_without_an_iv_the_number_is_it() -> None:  # 8.3
    playlist = media(
        "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-MEDIA-SEQUENCE:7794\n#EXT-X-TARGETDURATION:15\n"
        '#EXT-X-KEY:METHOD=AES-128,URI="https://priv.example.com/key.php?r=52,1"\n#EXTINF:2.833,\na.ts\n'
        '#EXTINF:15.0,\nb.ts\n#EXT-X-KEY:METHOD=AES-128,URI="key2",IV=0x1F\n#EXTINF:13.333,\nc.ts\n'
        "#EXT-X-KEY:METHOD=NONE\n#EXTINF:15.0,\nd.ts\n"
    )
    one = "https://priv.example.com/key.php?r=52,1"
    assert [segment.key for segment in playlist.segments] == [
        SegmentKey(url=one, iv=(7794).to_bytes(16)),
        SegmentKey(url=one, iv=(7795).to_bytes(16)),
        SegmentKey(url="https://example.com/live/room/key2", iv=(0x1F).to_bytes(16)),
        None,
    ]


def test_a_master_playlist_with_sound_and_keyframes_apart() -> None:  # 8.4 to 8.6
    found = variants(
        '#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="aac",NAME="English",URI="main/english-audio.m3u8"\n'
        '#EXT-X-STREAM-INF:BANDWIDTH=1280000,CODECS="avc1.4d401e,mp4a.40.2",RESOLUTION=640x360,AUDIO="aac"\n'
        "low/video-only.m3u8\n"
        '#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=86000,RESOLUTION=640x360,URI="low/iframe.m3u8"\n'
        "#EXT-X-STREAM-INF:AVERAGE-BANDWIDTH=6000000,BANDWIDTH=7680000\nhttp://example.com/hi.m3u8\n"
        '#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=550000,URI="hi/iframe.m3u8"\n'
        '#EXT-X-STREAM-INF:BANDWIDTH=65000,CODECS="mp4a.40.5"\naudio-only.m3u8\n'
    )
    low, high = found
    assert (low.url, low.width, low.height) == ("https://example.com/live/room/low/video-only.m3u8", 640, 360)
    assert (low.bandwidth, low.iframes_url) == (1_280_000, "https://example.com/live/room/low/iframe.m3u8")
    assert (high.url, high.height, high.bandwidth, high.iframes_url) == (
        "http://example.com/hi.m3u8",
        0,
        7_680_000,
        None,
    )


def test_parts_maps_gaps_and_discontinuities() -> None:
    playlist = media(
        "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:5\n"
        '#EXT-X-MAP:URI="init.mp4",BYTERANGE="720@8"\n#EXT-X-BYTERANGE:1000@728\n#EXTINF:4,\nall.mp4\n'
        "#EXT-X-BYTERANGE:500\n#EXTINF:4,\nall.mp4\n#EXT-X-DISCONTINUITY\n#EXT-X-GAP\n#EXTINF:4,\nlost.mp4\n"
        '#EXT-X-MAP:URI="other.mp4"\n#EXTINF:4\nlast.mp4\n'
    )
    room = "https://example.com/live/room/"
    assert [(one.number, one.part) for one in playlist.segments] == [
        (5, ByteRange(start=728, length=1000)),
        (6, ByteRange(start=1728, length=500)),
        (8, None),
    ]
    inits = [(one.init_url, one.init_part) for one in playlist.segments]
    assert inits == [(f"{room}init.mp4", ByteRange(start=8, length=720))] * 2 + [(f"{room}other.mp4", None)]
    assert not any(one.discontinuity for one in playlist.segments)


def test_what_no_tag_announced_and_what_low_latency_adds_is_passed_over() -> None:
    playlist = media(
        "#EXTM3U\n#EXT-X-PART-INF:PART-TARGET=0.5\nstray.ts\n# a comment\n#EXT-X-UNKNOWN:1\n"
        '#EXT-X-PART:DURATION=0.5,URI="0.0.ts"\n#EXTINF:2,\n0.ts\nstray.ts\n#EXT-X-PART:DURATION=0.5,URI="1.0.ts"\n'
        '#EXT-X-PRELOAD-HINT:TYPE=PART,URI="1.1.ts"\n'
    )
    assert [one.url for one in playlist.segments] == ["https://example.com/live/room/0.ts"]
    assert playlist.target_s == 2


@pytest.mark.parametrize(
    "base", [URL, "http://h", "http://h/", "http://h/a", "http://h:81/a/b/?c=/d#e/f", "http://[::1]/x/"]
)
@pytest.mark.parametrize(
    "written",
    ["0.ts", "a/b/0.ts", "0.ts?auth=1-0-x%2F", "./0.ts", "../0.ts", "a/../0.ts", "a/./b", "a/..", "a//b",
     "/0.ts", "//cdn/0.ts", "?a=1", "http://o/0.ts", "x:0.ts", ".hidden", "..", "a.b", "a;p=1", "ü.ts", "a b.ts", "0.ts?u=http://o/../x"],
)  # fmt: skip
def test_addresses_are_resolved_as_rfc_3986_says(base: str, written: str) -> None:
    playlist = media(f"#EXTM3U\n#EXTINF:2,\n{written}\n", base)
    assert playlist.segments[0].url == urljoin(base, written)


@pytest.mark.parametrize(
    "line",
    ["#EXTINF:two,\na", "#EXTINF:nan,\na", "#EXTINF:1e999,\na", "#EXT-X-TARGETDURATION:x", "#EXT-X-MEDIA-SEQUENCE:1.5",
     "#EXT-X-BYTERANGE:0\n#EXTINF:1,\na", "#EXT-X-BYTERANGE:5@-1\n#EXTINF:1,\na", "#EXT-X-MAP:BYTERANGE=\"1@0\"",
     "#EXT-X-KEY:METHOD=AES-128\n#EXTINF:1,\na", "#EXT-X-KEY:URI=\"k\"\n#EXTINF:1,\na",
     "#EXT-X-KEY:METHOD=AES-128,URI=\"k\",IV=0xZZ\n#EXTINF:1,\na",
     "#EXT-X-KEY:METHOD=AES-128,URI=\"k\",IV=0x" + "1" * 34 + "\n#EXTINF:1,\na",
     "#EXT-X-STREAM-INF:BANDWIDTH=1,RESOLUTION=axb\na"],
)  # fmt: skip
def test_what_would_have_to_be_guessed_is_malformed(line: str) -> None:
    with pytest.raises(StreamError) as refused:
        parse(Fetched(url=URL, body=f"#EXTM3U\n{line}\n".encode()))
    assert refused.value.reason is StreamReason.BAD_PLAYLIST


def room(segments: int = 4, seconds: float = 2.0, target_s: float = 2.0) -> MediaPlaylist:
    one = replace(FIRST, seconds=seconds)
    return MediaPlaylist(target_s=target_s, ended=False, segments=(one,) * segments)


@pytest.mark.parametrize(
    ("playlist", "fresh", "waited_s", "rest_s", "expected_s"),
    [
        # It has grown: a moment before its newest segment has been shown once more.
        (room(), 1, 2.0, 0.0, 1.98),
        (room(seconds=1.2), 1, 2.0, 0.0, 1.188),
        (room(seconds=9.0), 1, 2.0, 0.0, 1.98),
        # It has not: soon.
        (room(), 0, 2.0, 0.0, 1.0),
        (room(target_s=6.0), 0, 2.0, 9.0, 1.0),
        # It grows faster than its clock says.
        (room(), 4, 2.0, 0.0, 0.495),
        (room(), 40, 2.0, 0.0, 0.25),
        # Nothing of the next seconds is needed; all of them must still be in the window then, and a playlist that
        # stands still must be noticed within three target durations.
        (room(segments=9), 1, 2.0, 8.0, 3.96),
        (room(segments=9), 1, 2.0, 1.0, 3.96),
        (room(segments=2), 1, 2.0, 8.0, 1.98),
        (room(segments=1), 1, 2.0, 8.0, 1.98),
        (room(segments=9, seconds=1.0, target_s=1.0), 1, 1.0, 8.0, 3.96),
        (room(segments=9, seconds=6.0, target_s=6.0), 1, 6.0, 60.0, 11.88),
        # A playlist without a clock is not asked without end.
        (room(seconds=0.0, target_s=0.0), 1, 2.0, 8.0, 0.25),
        (room(segments=0), 1, 2.0, 8.0, 1.0),
    ],
)
def test_a_live_playlist_is_looked_at_again_when_it_will_have_grown(
    playlist: MediaPlaylist, fresh: int, waited_s: float, rest_s: float, expected_s: float
) -> None:
    assert next_look_after(playlist, fresh=fresh, waited_s=waited_s, rest_s=rest_s) == pytest.approx(expected_s)


@pytest.mark.parametrize(
    "written",
    [
        "A" * 100_000,
        "A=" * 50_000,
        'A="' * 33_000,
        'A="",' * 20_000,
        "A=1," * 25_000,
        "," * 100_000,
        "A" * 50_000 + '="',
    ],
)
@pytest.mark.parametrize("tag", ["#EXT-X-KEY:", "#EXT-X-MAP:", "#EXT-X-STREAM-INF:"])
def test_no_attribute_list_takes_long_to_read(tag: str, written: str) -> None:
    # Both as one line and as many of the longest that are read at all.
    lines = "\n".join(tag + written[at : at + 8_000] for at in range(0, len(written), 8_000))
    for text in (tag + written, lines):
        begun = time.process_time()
        with suppress(StreamError):
            parse(Fetched(url=URL, body=f"#EXTM3U\n{text}\n".encode()))
        assert time.process_time() - begun < 1.0


def test_an_attribute_list_is_read_as_players_read_it() -> None:
    playlist = media(
        '#EXTM3U\n#EXT-X-KEY:METHOD=AES-128, uri="k?a=1,b=2" ,IV=0x1F,KEYFORMAT="identity",X="unclosed, IV=0x2\n'
        "#EXTINF:1,\na.ts\n"
    )
    assert playlist.segments[0].key == SegmentKey(url="https://example.com/live/room/k?a=1,b=2", iv=(0x1F).to_bytes(16))


@pytest.mark.parametrize(
    ("lines", "target_s"),
    [
        ("#EXTINF:0,\na", 0.1),
        ("#EXTINF:-3,\na", 0.1),
        ("#EXT-X-TARGETDURATION:-5\n#EXTINF:2,\na", 2.0),
        ("#EXT-X-TARGETDURATION:0\n#EXTINF:2,\na", 2.0),
        ("#EXT-X-TARGETDURATION:-5", 2.0),
        ("#EXT-X-TARGETDURATION:0.000001\n#EXTINF:2,\na", 0.1),
        ("#EXT-X-TARGETDURATION:90\n#EXTINF:2,\na", 30.0),
    ],
)
def test_a_target_duration_is_always_a_positive_number_of_seconds(lines: str, target_s: float) -> None:
    assert media(f"#EXTM3U\n{lines}\n").target_s == target_s
