"""The only HTTP client that streams are read with: guarded, bounded in time and in bytes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self
from urllib.parse import urljoin

import aiohttp
from yarl import URL

from monitor.errors import StreamError, StreamReason
from monitor.streams.budget import Budget
from monitor.streams.guard import AddressGuard, GuardedResolver

_MAX_REDIRECTS = 5
# A keyframe comes in one or two pieces; with smaller buffers the socket is stopped and started in between.
_CHUNK = 1 << 18
_MOST_DIGITS = 18
# Compressed answers would need a second bound on what they unpack to; video gains nothing from them.
_HEADERS = {"Accept-Encoding": "identity", "User-Agent": "likeness-monitor"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """One whole answer."""

    url: str = field(repr=False)
    """The address after redirects; relative addresses in the body refer to it."""
    body: bytes = field(repr=False)
    partial: bool = False
    """The server sent no more than the part that was asked for (206)."""
    total: int | None = None
    """Bytes of the whole resource, where a server that sent a part of it said so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ByteRange:
    """A part of a resource."""

    start: int
    length: int

    @property
    def header(self) -> str:
        """The value of the Range header."""
        return f"bytes={self.start}-{self.start + self.length - 1}"


class RangeRefused(StreamError):
    """HTTP 416: the part that was asked for begins at the resource's end or behind it."""


def range_total(header: str, start: int) -> int | None:
    """Bytes of the whole resource, as a Content-Range says (RFC 9110, 14.4); None where it does not.

    :raises StreamError: HTTP_ERROR if what it announces does not begin at ``start``.
    """
    unit, _, rest = header.strip().partition(" ")
    span, _, total = rest.partition("/")
    first = span.partition("-")[0].strip()
    if unit.lower() != "bytes" or not _is_count(first):
        return None
    if int(first) != start:
        raise StreamError(StreamReason.HTTP_ERROR, "the server sends another part than was asked for")
    return int(total) if _is_count(total.strip()) else None


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS


def _is_numeric(host: str) -> bool:
    """Whether aiohttp could take ``host`` for an address: whatever holds nothing but digits, dots and colons."""
    return ":" in host or host.replace(".", "").isdigit()


def status_error(status: int) -> StreamError | None:
    """What an HTTP status means for a stream; None if it is a success."""
    if status in (200, 206):
        return None
    if status in (404, 410):
        return StreamError(StreamReason.NOT_FOUND, f"HTTP {status}")
    if status in (401, 403):
        return StreamError(StreamReason.FORBIDDEN, f"HTTP {status}")
    if status == 416:
        return RangeRefused(StreamReason.HTTP_ERROR, "HTTP 416")
    return StreamError(StreamReason.HTTP_ERROR, f"HTTP {status}")


def translated(err: Exception) -> StreamError:
    """aiohttp's error as a StreamError; its text is not repeated because it holds the address."""
    if isinstance(err, StreamError):
        return err
    if isinstance(err, aiohttp.InvalidURL | ValueError):
        return StreamError(StreamReason.UNSUPPORTED, "the address is malformed", retryable=False)
    if isinstance(err, aiohttp.ClientConnectorDNSError):
        return StreamError(StreamReason.UNRESOLVED, "no address for the host")
    if isinstance(err, aiohttp.ClientSSLError):
        return StreamError(StreamReason.REFUSED, f"TLS failed: {type(err).__name__}")
    if isinstance(err, aiohttp.ClientConnectorError):
        number = err.os_error.errno
        return StreamError(StreamReason.REFUSED, os.strerror(number) if number else "cannot connect")
    if isinstance(err, aiohttp.ClientResponseError):
        return StreamError(StreamReason.HTTP_ERROR, "the answer is not HTTP")
    return StreamError(StreamReason.CLOSED_BY_PEER, type(err).__name__)


class MeteredBody:
    """The bytes of one answer, charged to a budget as they come."""

    def __init__(self, content: aiohttp.StreamReader, budget: Budget | None) -> None:
        self._content = content
        self._budget = budget

    async def read(self, size: int) -> bytes:
        """At least one byte, at most ``size``; none at the end.

        :raises StreamError: OVER_BUDGET.
        """
        data = await self._content.read(size)
        if data and self._budget is not None:
            self._budget.receive(len(data))
        return data


class GuardedHttp:
    """An HTTP session whose every connection and redirect goes through the address guard.

    :param budget: what its requests and bytes are charged to; None for no bound.
    """

    def __init__(self, guard: AddressGuard, *, open_timeout_s: float, budget: Budget | None = None) -> None:
        self._guard = guard
        self._open_timeout_s = open_timeout_s
        self._budget = budget
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(resolver=GuardedResolver(self._guard), limit=0, use_dns_cache=False)
        self._session = aiohttp.ClientSession(
            connector=connector,
            headers=_HEADERS,
            cookie_jar=aiohttp.DummyCookieJar(),
            read_bufsize=_CHUNK,
            # The deadlines are our own: each request runs under one total.
            timeout=aiohttp.ClientTimeout(total=None),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def within(self, budget: Budget) -> GuardedHttp:
        """The same session for one stream, charged to its ``budget``; ends with this one."""
        view = GuardedHttp(self._guard, open_timeout_s=self._open_timeout_s, budget=budget)
        view._session = self._session
        return view

    def metered(self, content: aiohttp.StreamReader) -> MeteredBody:
        """A body of :meth:`open` that is read bit by bit, charged to the budget."""
        return MeteredBody(content, self._budget)

    @asynccontextmanager
    async def open(self, url: str, headers: dict[str, str] | None = None) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer to a GET after checked redirects, its head read, its body not.

        :raises StreamError: the reason; OPEN_TIMEOUT if the head took longer than the open timeout.
        """
        response = await self._answer(url, headers or {})
        try:
            yield response
        finally:
            response.close()

    async def _answer(self, url: str, headers: dict[str, str]) -> aiohttp.ClientResponse:
        try:
            async with asyncio.timeout(self._open_timeout_s):
                return await self._follow(url, headers)
        except TimeoutError as err:
            raise StreamError(StreamReason.OPEN_TIMEOUT, f"no answer in {self._open_timeout_s:g} s") from err
        except (aiohttp.ClientError, OSError, ValueError) as err:
            raise translated(err) from err

    async def _follow(self, url: str, headers: dict[str, str]) -> aiohttp.ClientResponse:
        if self._session is None:
            raise RuntimeError("GuardedHttp is used outside its async with block")
        for _ in range(_MAX_REDIRECTS + 1):
            if self._budget is not None:
                self._budget.open()
            response = await self._session.get(await self._admitted(url), headers=headers, allow_redirects=False)
            location = response.headers.get("Location")
            if response.status in (301, 302, 303, 307, 308) and location:
                response.close()
                url = urljoin(url, location)
                continue
            if refused := status_error(response.status):
                response.close()
                raise refused
            return response
        raise StreamError(StreamReason.HTTP_ERROR, f"more than {_MAX_REDIRECTS} redirects")

    async def _admitted(self, url: str) -> URL:
        """``url`` as it will be connected to.

        aiohttp has names resolved by the guard, once for each connection; anything that it takes for an address it
        connects to without asking, so that is checked here.

        :raises StreamError: AddressRefused or UNSUPPORTED.
        """
        target = URL(url)
        host = target.raw_host
        if target.scheme not in ("http", "https") or not host:
            await self._guard.check(str(target))
            raise StreamError(StreamReason.UNSUPPORTED, "not an HTTP address", retryable=False)
        if _is_numeric(host) and self._guard.literal(host) is None:
            await self._guard.check(str(target))
        return target

    async def fetch(self, url: str, *, max_bytes: int, timeout_s: float, part: ByteRange | None = None) -> Fetched:
        """A whole body (or the part of it) of at most ``max_bytes``, within ``timeout_s`` in all.

        A server may send less of a part than was asked for: how much there is stands in ``total``, or nowhere.

        :raises StreamError: the reason; READ_TIMEOUT also for a peer that drips, TOO_LARGE; RangeRefused.
        """
        headers = {"Range": part.header} if part else {}
        if part and part.length > max_bytes:
            raise StreamError(StreamReason.TOO_LARGE, f"more than {max_bytes} bytes")
        reason = StreamReason.OPEN_TIMEOUT
        total: int | None = None
        try:
            async with asyncio.timeout(timeout_s):
                # One deadline is enough where the other would not come sooner.
                asked = self._follow if timeout_s <= self._open_timeout_s else self._answer
                response = await asked(url, headers)
                try:
                    reason = StreamReason.READ_TIMEOUT
                    if part and response.status == 206:
                        total = range_total(response.headers.get("Content-Range", ""), part.start)
                    body, skip = await self._body(response, part, max_bytes)
                finally:
                    response.close()
        except TimeoutError as err:
            raise StreamError(reason, f"not complete after {timeout_s:g} s") from err
        except (aiohttp.ClientError, OSError, ValueError) as err:
            raise translated(err) from err
        if part is None and len(body) > max_bytes:
            raise StreamError(StreamReason.TOO_LARGE, f"more than {max_bytes} bytes")
        if part and (skip or len(body) > part.length):
            body = body[skip : skip + part.length]
        return Fetched(url=str(response.url), body=body, partial=response.status == 206, total=total)

    async def _body(
        self, response: aiohttp.ClientResponse, part: ByteRange | None, max_bytes: int
    ) -> tuple[bytes, int]:
        """What ``response`` holds, no more than one piece beyond what is wanted, and where in it ``part`` begins."""
        skip = part.start if part and response.status == 200 else 0
        wanted = skip + part.length if part else max_bytes
        if skip > max_bytes:
            raise StreamError(StreamReason.TOO_LARGE, "the server sends whole files only, and this one is long")
        pieces: list[bytes] = []
        received = 0
        content = self.metered(response.content)
        while received <= wanted and (piece := await content.read(_CHUNK)):
            pieces.append(piece)
            received += len(piece)
        return (pieces[0] if len(pieces) == 1 else b"".join(pieces)), skip
