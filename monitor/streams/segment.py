"""Takes the video packets out of one HLS segment."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import datetime
from typing import Any

import av
import av.error

from monitor.clock import Clock
from monitor.errors import StreamError, StreamReason
from monitor.streams.libav import PacketReader, best_video, video_format
from monitor.streams.libav_limits import MOST_STREAMS
from monitor.streams.packet import Packet, VideoFormat

_OPTIONS = {"fpsprobesize": "0", "max_streams": MOST_STREAMS}
# libav would decode a picture only to know its format, which costs more than all the rest.
_NO_DECODING: Any = [{"skip_frame": "all"}] * int(MOST_STREAMS)


def demux_segment(data: bytes, clock: Clock, received_at: datetime) -> tuple[VideoFormat, tuple[Packet, ...]]:
    """The video of one segment (with its initialisation section in front). Runs in a thread, not on the loop.

    :raises StreamError: BAD_DATA, NO_VIDEO, UNSUPPORTED.
    """
    # The kind is told by us and not guessed by libav, so that hostile bytes meet these two demuxers only.
    if data[:1] == b"\x47":
        kind = "mpegts"
    elif data[4:8] in (b"ftyp", b"styp", b"moof", b"moov", b"sidx", b"emsg", b"prft"):
        kind = "mp4"
    elif data[:3] == b"ID3" or (data[:1] == b"\xff" and data[1:2] >= b"\xe0"):
        raise StreamError(StreamReason.NO_VIDEO, "the segment carries only sound")
    else:
        raise StreamError(StreamReason.BAD_DATA, "the segment is neither MPEG-TS nor fMP4")
    try:
        with av.open(
            io.BytesIO(data), mode="r", format=kind, options=_OPTIONS, stream_options=_NO_DECODING
        ) as container:
            stream = best_video(container)
            if stream is None:
                reason = StreamReason.NO_VIDEO if container.streams.audio else StreamReason.BAD_DATA
                raise StreamError(reason, "no video in the segment")
            video = video_format(stream)
            reader = PacketReader(clock)
            converted = [reader.convert(packet) for packet in container.demux(stream)]
    # PyAV loses count of the streams that broken data adds while it is read, and shows that as an IndexError.
    except (av.error.FFmpegError, IndexError, ValueError, OSError) as err:
        raise StreamError(StreamReason.BAD_DATA, "the segment cannot be demuxed") from err
    packets = tuple(replace(packet, received_at=received_at) for packet in converted if packet is not None)
    if not packets:
        raise StreamError(StreamReason.BAD_DATA, "the segment holds no picture")
    return video, packets


def same_format(old: VideoFormat | None, new: VideoFormat) -> bool:
    """Whether a decoder that was told ``old`` can go on with ``new``.

    MPEG-TS carries its parameter sets in the video, and what libav shows of them depends on how far it looked.
    """
    if old is None:
        return False
    if not new.width:
        # A segment without parameter sets goes on with those of the one before.
        return (old.codec, old.time_base) == (new.codec, new.time_base)
    in_band = new.extradata is None or new.extradata[:1] == b"\x00"
    return replace(old, extradata=None) == replace(new, extradata=None) and (in_band or old.extradata == new.extradata)
