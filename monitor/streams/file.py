"""Video files."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

import av
import av.error
from av.container import InputContainer

from monitor.errors import StreamError, StreamReason
from monitor.streams.libav import CONTAINERS, LibavReading
from monitor.streams.packet import PacketSink
from monitor.streams.reach import Reach


def open_file(path: Path) -> InputContainer:
    """``path`` for demuxing.

    :raises StreamError: FILE_MISSING, EMPTY_FILE, BAD_DATA; not retryable.
    """
    try:
        if not path.is_file():
            raise StreamError(StreamReason.FILE_MISSING, f"there is no file {path.name} there", retryable=False)
        if path.stat().st_size == 0:
            raise StreamError(StreamReason.EMPTY_FILE, f"{path.name} has 0 bytes", retryable=False)
        return av.open(f"file:{path}", mode="r", options={"protocol_whitelist": "file", "format_whitelist": CONTAINERS})
    except OSError as err:
        raise StreamError(StreamReason.FILE_MISSING, f"{path.name}: {err.strerror}", retryable=False) from err
    except av.error.FFmpegError as err:
        raise StreamError(
            StreamReason.BAD_DATA, f"{path.name} is not a video that can be read", retryable=False
        ) from err


@dataclass(slots=True, kw_only=True)
class FileInput:
    """A file that may be read."""

    path: Path
    paced: bool
    live: bool = False

    def open(self, probe_s: float) -> InputContainer:
        """Files are not probed shorter than FFmpeg likes."""
        return open_file(self.path)

    def expect_packet(self) -> None:
        """A local disk has no deadline."""

    def abort(self) -> None:
        """Nothing waits."""


class FileSource:
    """A video file, played once in real time."""

    cadence_s = 0.0

    def __init__(self, url: str, reach: Reach, *, paced: bool) -> None:
        self._url = url
        self._reach = reach
        self._paced = paced

    async def run(self, sink: PacketSink) -> None:
        """Play to the end.

        :raises StreamError: not retryable: what is wrong with the file.
        """
        path = await asyncio.to_thread(self._reach.guard.check_file, self._url)
        try:
            await LibavReading(FileInput(path=path, paced=self._paced), self._reach.clock, 0.0, 0.0).run(sink)
        except StreamError as err:
            raise StreamError(err.reason, err.detail, retryable=False) from err
