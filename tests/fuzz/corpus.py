"""Good inputs to begin with, small, made by PyAV; each address in them leads to a trap that counts who comes."""

from __future__ import annotations

from pathlib import Path

from support.flv import remuxed, tags
from support.hls import playlist
from support.video import clip_bytes, fmp4_segments, ts_segments

from monitor.streams.amf import encode_amf
from monitor.streams.rtmp_chunks import (
    AGGREGATE,
    COMMAND,
    DEFAULT_CHUNK_SIZE,
    SET_CHUNK_SIZE,
    USER_CONTROL,
    WINDOW_SIZE,
    chunked,
)

SIZE = {"width": 128, "height": 72}


def playlists(trap: str) -> list[bytes]:
    """Master and media playlists with most of the tags of RFC 8216."""
    master = [
        "#EXTM3U",
        "#EXT-X-VERSION:7",
        '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="en",DEFAULT=YES,URI="audio.m3u8"',
        '#EXT-X-STREAM-INF:BANDWIDTH=800000,RESOLUTION=640x360,CODECS="avc1.4d401f,mp4a.40.2",AUDIO="a"',
        "low.m3u8",
        '#EXT-X-STREAM-INF:BANDWIDTH=2800000,RESOLUTION=1280x720,FRAME-RATE=29.970,CODECS="avc1.4d401f"',
        f"{trap}/high.m3u8",
        f'#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=80000,RESOLUTION=640x360,URI="{trap}/iframes.m3u8"',
        f'#EXT-X-SESSION-KEY:METHOD=AES-128,URI="{trap}/key"',
    ]
    media = [
        "#EXTM3U",
        "#EXT-X-VERSION:7",
        "#EXT-X-TARGETDURATION:6",
        "#EXT-X-MEDIA-SEQUENCE:17",
        "#EXT-X-DISCONTINUITY-SEQUENCE:2",
        f'#EXT-X-MAP:URI="{trap}/init.mp4",BYTERANGE="720@0"',
        f'#EXT-X-KEY:METHOD=AES-128,URI="{trap}/key",IV=0x00000000000000000000000000000001',
        "#EXT-X-PROGRAM-DATE-TIME:2026-05-01T12:00:00.000Z",
        "#EXTINF:5.005,a title",
        "#EXT-X-BYTERANGE:100000@720",
        "all.m4s",
        "#EXT-X-DISCONTINUITY",
        "#EXT-X-KEY:METHOD=NONE",
        "#EXTINF:5.005,",
        f"{trap}/1.ts",
        '#EXT-X-PART:DURATION=0.33,URI="part.mp4",INDEPENDENT=YES',
        '#EXT-X-PRELOAD-HINT:TYPE=PART,URI="next.mp4"',
        "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.0",
        '#EXT-X-DATERANGE:ID="x",START-DATE="2026-05-01T12:00:00Z",DURATION=1.0,SCTE35-OUT=0xFC',
    ]
    simple = playlist([f"{n}.ts" for n in range(4)], first=9)
    ended = playlist(["0.m4s", "1.m4s"], init="init.mp4", ended=True)
    return ["\n".join(lines).encode() for lines in (master, media)] + [simple.encode(), ended.encode()]


def transport_streams() -> list[bytes]:
    """MPEG-TS segments of a second or less."""
    silent = ts_segments(seconds=1, gop=5, segment_s=1.0, **SIZE)
    return [silent[0], clip_bytes(seconds=0.5, container="mpegts", sound=True, bframes=2, **SIZE)]


def fragments(trap: str) -> list[bytes]:
    """Fragmented and plain MP4; one whose data reference names an address."""
    init, parts = fmp4_segments(seconds=1)
    plain = clip_bytes(seconds=0.5, container="mp4", sound=True, **SIZE)
    # ISO 14496-12, 8.7.2: a "url " entry without the flag "self-contained" names where the data is.
    elsewhere = plain.replace(b"url \x00\x00\x00\x01", b"url \x00\x00\x00\x00" + trap.encode() + b"/d\x00")
    return [init + parts[0], plain, elsewhere]


def pushed(trap: str) -> list[bytes]:
    """What an HTTP-FLV address may answer: FLV, other containers, and texts that name further addresses."""
    flv = clip_bytes(seconds=1, gop=5, container="flv", sound=True, live=True, **SIZE)
    enhanced = remuxed("libx265", seconds=0.5)
    others = [clip_bytes(seconds=0.3, container=kind, **SIZE) for kind in ("matroska", "avi")]
    texts = [
        f"ffconcat version 1.0\nfile {trap}/a.mp4\n",
        f"v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\na=control:{trap}/a\n",
        playlist([f"{trap}/0.ts"]),
        f'<?xml version="1.0"?><MPD><BaseURL>{trap}/</BaseURL></MPD>',
    ]
    return [flv, flv, enhanced, *others, *(text.encode() for text in texts)]


def chunked_rooms() -> list[bytes]:
    """What an RTMP server sends behind the handshake: its answers, then sound and pictures in chunks."""
    answers = [
        chunked(WINDOW_SIZE, (2_500_000).to_bytes(4), chunk_size=DEFAULT_CHUNK_SIZE),
        chunked(USER_CONTROL, b"\x00\x06\x00\x00\x00\x07", chunk_size=DEFAULT_CHUNK_SIZE),
        chunked(
            COMMAND,
            encode_amf("_result", 1.0, None, {"code": "ok", "list": [1.0, None]}),
            chunk_size=DEFAULT_CHUNK_SIZE,
        ),
        chunked(COMMAND, encode_amf("_result", 2.0, None, 1.0)),
        chunked(COMMAND, encode_amf("onStatus", 0.0, None, {"code": "NetStream.Play.Start"}), stream=1),
    ]
    flv = clip_bytes(seconds=1, gop=5, container="flv", sound=True, live=True, **SIZE)
    seeds = []
    for chunk_size, start_ms in ((DEFAULT_CHUNK_SIZE, 0), (4096, 0xFFFFF0), (65536, 0xFFFF_FF00)):
        media = [
            chunked(kind, body, stream=1, time_ms=(start_ms + time_ms) % (1 << 32), chunk_size=chunk_size)
            for kind, time_ms, body in tags(flv)
        ]
        announced = chunked(SET_CHUNK_SIZE, chunk_size.to_bytes(4), chunk_size=DEFAULT_CHUNK_SIZE)
        seeds.append(b"".join([*answers, announced, *media]))
    aggregate = chunked(AGGREGATE, flv[13:60_000], stream=1, chunk_size=DEFAULT_CHUNK_SIZE)
    return [*seeds, b"".join([*answers, aggregate])]


def keyframes() -> list[bytes]:
    """Parameter sets and a picture, as an Annex B stream: what a worker's decoder is given."""
    return [
        clip_bytes(seconds=0.1, container="h264", **SIZE),
        clip_bytes(seconds=0.3, container="h264", bframes=2, **SIZE),
    ]


def write(folder: Path, trap: str) -> None:
    """One folder a kind, one file a seed."""
    kinds = {
        "playlist": playlists(trap),
        "mpegts": transport_streams(),
        "mp4": fragments(trap),
        "flv": pushed(trap),
        "rtmp": chunked_rooms(),
        "keyframe": keyframes(),
    }
    for kind, seeds in kinds.items():
        (folder / kind).mkdir(parents=True)
        for index, seed in enumerate(seeds):
            (folder / kind / f"{index:02}").write_bytes(seed)
