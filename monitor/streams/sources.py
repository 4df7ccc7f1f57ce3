"""Chooses how a stream's address is read; RTMP, HTTP-FLV and files, which all go through libav."""

from __future__ import annotations

import asyncio
import ssl
import time
from concurrent.futures import Executor, Future
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import av
from av.container import InputContainer

from monitor.clock import Clock
from monitor.errors import StreamError, StreamReason
from monitor.streams.config import StreamsConfig
from monitor.streams.guard import DEFAULT_PORTS, Address, AddressGuard
from monitor.streams.hls import HlsSource
from monitor.streams.http import GuardedHttp, translated
from monitor.streams.libav import CONTAINERS, LibavReading
from monitor.streams.packet import PacketSink, Source

# FLV announces sound and picture whether or not both come, and libav waits for both for as long as it may.
# So the first look is short, for rooms without sound, and only if it shows no picture there is a long one.
_FIRST_PROBE_S = 0.5
_REPLAY_BYTES = 8_000_000
_HLS_SUFFIXES = (".m3u8", ".m3u")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """What sources read with; shared by all streams."""

    guard: AddressGuard
    http: GuardedHttp
    demuxers: Executor = field(repr=False)
    """Threads for short demuxing jobs (HLS segments)."""
    config: StreamsConfig
    clock: Clock


def is_file(url: str) -> bool:
    """Whether ``url`` names a local file: a path or a ``file:`` URL."""
    return urlsplit(url).scheme in ("", "file")


def choose(url: str, reach: Reach, *, paced: bool = True) -> Source:
    """The source for ``url``. Nothing is opened or checked yet.

    :param paced: play recordings in real time; else as fast as the sink takes them.
    :raises StreamError: UNSUPPORTED for other schemes, not retryable.
    """
    parts = urlsplit(url)
    if is_file(url):
        return FileSource(url, reach, paced=paced)
    if parts.scheme in ("rtmp", "rtmps"):
        return RtmpSource(url, reach)
    if parts.scheme in ("http", "https"):
        if parts.path.lower().endswith(_HLS_SUFFIXES):
            return HlsSource(
                url, http=reach.http, demuxers=reach.demuxers, config=reach.config, clock=reach.clock, paced=paced
            )
        return HttpSource(url, reach, paced=paced)
    raise StreamError(
        StreamReason.UNSUPPORTED,
        f"scheme {parts.scheme!r}; allowed: {', '.join(DEFAULT_PORTS)}, file",
        retryable=False,
    )


def av_options(probe_s: float, protocols: str) -> dict[str, str]:
    """FFmpeg's options for a live input: known containers and protocols only, no waiting for a frame rate."""
    return {
        "protocol_whitelist": protocols,
        "format_whitelist": CONTAINERS,
        "analyzeduration": str(round(probe_s * 1_000_000)),
        "fpsprobesize": "0",
    }


# --- RTMP ---------------------------------------------------------------------------------------------------


def pinned_rtmp(url: str, address: Address) -> tuple[str, str]:
    """``url`` with its host replaced by the checked ``address``, and the tcUrl that names the host all the same.

    FFmpeg takes the application from the first path element, or the first two if there are three or more.
    """
    parts = urlsplit(url)
    elements = [element for element in parts.path.split("/") if element]
    application = "/".join(elements[: 2 if len(elements) > 2 else 1])
    port = f":{parts.port}" if parts.port else ""
    host = f"[{address}]" if address.version == 6 else str(address)
    named = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    credentials = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
    return (
        urlunsplit(parts._replace(netloc=f"{credentials}{host}{port}")),
        f"{parts.scheme}://{named}{port}/{application}",
    )


@dataclass(slots=True, kw_only=True)
class RtmpInput:
    """An RTMP address whose host was checked."""

    url: str = field(repr=False)
    options: dict[str, str] = field(repr=False)
    open_timeout_s: float
    read_timeout_s: float
    live: bool = True
    paced: bool = False

    def open(self, probe_s: float) -> InputContainer:
        """Connect; PyAV's timeout counts for each packet, so it also ends a peer that drips."""
        return av.open(
            self.url,
            mode="r",
            timeout=(self.open_timeout_s, self.read_timeout_s),
            options={**av_options(probe_s, "rtmp,rtmps,tcp,tls"), **self.options},
        )

    def expect_packet(self) -> None:
        """libav's own read timeout covers it."""

    def abort(self) -> None:
        """Nothing may touch libav's connection from outside; the read timeout ends it."""


class RtmpSource:
    """A room on an RTMP server."""

    cadence_s = 0.0

    def __init__(self, url: str, reach: Reach) -> None:
        self._url = url
        self._reach = reach

    async def run(self, sink: PacketSink) -> None:
        """Read until the server hangs up.

        :raises StreamError: always in the end; CLOSED_BY_PEER when the room is over.
        """
        addresses = await self._reach.guard.check(self._url)
        config = self._reach.config
        url, options = self._url, {"rtmp_live": "live"}
        if urlsplit(url).scheme == "rtmps":
            # TLS needs the name. The certificate is verified for it, so a name that has come to point at an
            # internal address since the check reaches nothing that could answer for it.
            paths = await asyncio.to_thread(ssl.get_default_verify_paths)
            options |= {"tls_verify": "1", "ca_file": paths.cafile or paths.openssl_cafile}
        else:
            url, options["rtmp_tcurl"] = pinned_rtmp(url, addresses[0])
        reading = LibavReading(
            RtmpInput(
                url=url,
                options=options,
                open_timeout_s=config.open_timeout_s,
                read_timeout_s=config.read_timeout_s,
            ),
            self._reach.clock,
            _FIRST_PROBE_S,
            config.open_timeout_s,
        )
        await reading.run(sink)


# --- HTTP-FLV and other containers over HTTP ----------------------------------------------------------------


class HttpInput:
    """A body that our own HTTP client reads and libav demuxes: libav itself opens no connection.

    libav asks for bytes in its thread; they are read on the loop, where aiohttp keeps them flowing no faster
    than they are asked for.
    """

    live = True

    def __init__(
        self, content: aiohttp.StreamReader, loop: asyncio.AbstractEventLoop, config: StreamsConfig, *, paced: bool
    ) -> None:
        self.paced = paced
        self._content = content
        self._loop = loop
        self._config = config
        self._deadline = 0.0
        self._late = StreamReason.OPEN_TIMEOUT
        self._head: bytearray | None = bytearray()
        self._position = 0
        self._waiting: Future[bytes] | None = None
        self._aborted = False

    def open(self, probe_s: float) -> InputContainer:
        """Demux from the first byte; what an earlier look has read is read again from memory."""
        self._position = 0
        self._deadline = time.monotonic() + self._config.open_timeout_s
        return av.open(self, mode="r", options=av_options(probe_s, "file"))

    def expect_packet(self) -> None:
        """The whole packet must be here within the read timeout, however it drips."""
        self._head = None
        self._late = StreamReason.READ_TIMEOUT
        self._deadline = time.monotonic() + self._config.read_timeout_s

    def abort(self) -> None:
        """Every read from now on fails at once."""
        self._aborted = True
        if self._waiting is not None:
            self._waiting.cancel()

    def read(self, size: int) -> bytes:
        """At least one byte, at most ``size``; none at the end.

        :raises StreamError: after the deadline, or when the connection broke.
        """
        if self._head is not None and self._position < len(self._head):
            data = bytes(self._head[self._position : self._position + size])
        else:
            data = self._next(size)
            if self._head is not None and len(self._head) < _REPLAY_BYTES:
                self._head += data
        self._position += len(data)
        return data

    def _next(self, size: int) -> bytes:
        waiting = asyncio.run_coroutine_threadsafe(self._content.read(size), self._loop)
        self._waiting = waiting
        if self._aborted:
            waiting.cancel()
        try:
            return waiting.result(timeout=max(0.0, self._deadline - time.monotonic()))
        except TimeoutError as err:
            waiting.cancel()
            raise StreamError(self._late) from err
        except (aiohttp.ClientError, OSError) as err:
            raise translated(err) from err


class HttpSource:
    """A room as HTTP-FLV, or a recording in another container over HTTP."""

    cadence_s = 0.0

    def __init__(self, url: str, reach: Reach, *, paced: bool) -> None:
        self._url = url
        self._reach = reach
        self._paced = paced
        self._finished: tuple[str | None, ...] | None = None

    async def run(self, sink: PacketSink) -> None:
        """Read to the end; returns at once for a recording that was read before and has not changed.

        :raises StreamError: the reason; CLOSED_BY_PEER when a live room is over.
        """
        async with AsyncExitStack() as stack:
            response = await stack.enter_async_context(self._reach.http.open(self._url))
            if "mpegurl" in response.headers.get("Content-Type", "").lower():
                raise StreamError(
                    StreamReason.UNSUPPORTED, "an HLS playlist whose path does not end in .m3u8", retryable=False
                )
            version = tuple(response.headers.get(name) for name in ("ETag", "Last-Modified", "Content-Length"))
            if version == self._finished:
                return
            config = self._reach.config
            source = HttpInput(response.content, asyncio.get_running_loop(), config, paced=self._paced)
            reading = LibavReading(source, self._reach.clock, _FIRST_PROBE_S, config.open_timeout_s)
            await reading.run(sink)
            self._finished = version


# --- Files --------------------------------------------------------------------------------------------------


def open_file(path: Path) -> InputContainer:
    """``path`` for demuxing.

    :raises StreamError: FILE_MISSING, EMPTY_FILE, BAD_DATA; not retryable.
    """
    try:
        if not path.is_file():
            raise StreamError(StreamReason.FILE_MISSING, path.name, retryable=False)
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
