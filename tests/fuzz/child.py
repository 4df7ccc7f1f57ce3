"""Runs a batch of cases through the daemon's own parsers, in a process that may die of it.

    python tests/fuzz/child.py KIND CORPUS PROGRESS FIRST COUNT

PROGRESS is a file that always holds the number of the case under way; the last line on standard output is JSON.
"""

from __future__ import annotations

import io
import json
import mmap
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path

import av
from fuzz.mutations import mutated
from support.peak_memory import peak_memory

from monitor.clock import SystemClock
from monitor.errors import FrameLost, StreamError, StreamReason
from monitor.faces.decode import Decoder
from monitor.streams.flv import SIGNATURE, FlvReader
from monitor.streams.flv_video import Item
from monitor.streams.http import Fetched
from monitor.streams.libav import PacketReader, av_options, best_video, translate, video_format
from monitor.streams.libav_limits import bounded_allocations
from monitor.streams.packet import EncodedFrame, Packet, VideoFormat
from monitor.streams.playlist_text import parse
from monitor.streams.rtmp_session import RtmpSession, rtmp_target
from monitor.streams.segment import demux_segment
from monitor.streams.ts_keyframe import first_keyframe

CLOCK = SystemClock()
DECODER = Decoder()


def read_playlist(data: bytes) -> None:
    parse(Fetched(url="http://fuzz.example/live/index.m3u8", body=data))


def read_segment(data: bytes) -> None:
    first_keyframe(data)
    demux_segment(data, CLOCK, CLOCK.utc())


def read_pushed(data: bytes) -> None:
    """As an HTTP address is read: FLV by our own parser, in pieces; all else by libav, in a thread."""
    if data.startswith(SIGNATURE):
        return read_pieces(FlvReader(keyframes_only=len(data) % 3 == 0).feed, data)
    try:
        with av.open(io.BytesIO(data), mode="r", options=av_options(0.5, "file")) as container:
            stream = best_video(container)
            if stream is None:
                raise StreamError(StreamReason.NO_VIDEO)
            video_format(stream)
            reader = PacketReader(CLOCK)
            for packet in container.demux():
                if packet.stream_index == stream.index:
                    reader.convert(packet)
    # The top of that thread takes everything, too: what must not happen is that the process ends.
    except Exception as err:
        raise translate(err, opening=True) from err


def read_pieces(feed: Callable[[bytes, datetime], list[Item]], data: bytes) -> None:
    """Fed in pieces whose sizes follow from the data."""
    draw = random.Random(len(data))
    at = 0
    while at < len(data):
        size = draw.choice((1, 7, 300, 5_000, 100_000))
        for item in feed(data[at : at + size], CLOCK.utc()):
            assert isinstance(item, Packet | VideoFormat)
        at += size


def read_chunks(data: bytes) -> None:
    """As an RTMP room is read, behind the handshake that no server can spoil much."""
    session = RtmpSession(rtmp_target("rtmp://fuzz.example/live/room"), keyframes_only=len(data) % 3 == 0)
    session.receive(b"\x03" + bytes(2 * 1536), CLOCK.utc())
    read_pieces(session.receive, data)
    if session.ending is not None:
        raise session.ending
    assert len(session.to_send) < 4 * len(data) + 100_000


def decode_keyframe(data: bytes) -> None:
    """As a worker does; half of the cases carry the front part as extradata."""
    cut = len(data) // 8 if len(data) % 2 else 0
    packet = Packet(data=data[cut:], pts=0, dts=0, is_keyframe=True, received_at=datetime.now(UTC))
    video = VideoFormat(codec="h264", extradata=data[:cut] or None, width=128, height=72, time_base=Fraction(1, 90_000))
    frame = EncodedFrame(stream_id="fuzz", epoch=1, format=video, packets=(packet,), instants=(0,))
    for picture in DECODER.pictures(frame):
        assert picture is None or picture.pixels.ndim == 3


KINDS: dict[str, Callable[[bytes], None]] = {
    "playlist": read_playlist,
    "mpegts": read_segment,
    "mp4": read_segment,
    "flv": read_pushed,
    "rtmp": read_chunks,
    "keyframe": decode_keyframe,
}


def main() -> None:
    kind, corpus, progress, first, count = (
        sys.argv[1],
        Path(sys.argv[2]),
        sys.argv[3],
        int(sys.argv[4]),
        int(sys.argv[5]),
    )
    seeds = [path.read_bytes() for path in sorted((corpus / kind).iterdir())]
    outcomes: Counter[str] = Counter()
    defects: list[str] = []
    connects: list[str] = []
    slowest = (0.0, -1)
    sys.addaudithook(lambda event, args: connects.append(str(args[1])) if event == "socket.connect" else None)
    bounds = nullcontext() if kind == "keyframe" else bounded_allocations()
    with bounds, open(progress, "r+b") as file, mmap.mmap(file.fileno(), 8) as under_way:
        for case in range(first, first + count):
            # Seen by the parent even if this process dies in the next line.
            under_way[:] = case.to_bytes(8)
            begun = time.perf_counter()
            try:
                KINDS[kind](mutated(seeds, case))
                outcomes["read"] += 1
            except (StreamError, FrameLost) as error:
                outcomes[str(error.reason)] += 1
            except Exception as error:  # noqa: BLE001 - whatever else comes out is what is looked for
                defects.append(f"{kind} case {case}: {type(error).__name__}: {error}"[:300])
            slowest = max(slowest, (time.perf_counter() - begun, case))
    rss = peak_memory()
    print(json.dumps({"outcomes": outcomes, "defects": defects, "connects": connects, "rss": rss, "slowest": slowest}))


if __name__ == "__main__":
    main()
