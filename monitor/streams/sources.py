"""Chooses how a stream's address is read."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from monitor.errors import StreamError, StreamReason
from monitor.streams.file import FileSource
from monitor.streams.guard import DEFAULT_PORTS
from monitor.streams.hls import HlsSource
from monitor.streams.http_flv import HttpSource
from monitor.streams.kinds import SourceKind, installed_kinds
from monitor.streams.packet import Source
from monitor.streams.reach import Reach
from monitor.streams.rtmp import RtmpSource

_HLS_SUFFIXES = (".m3u8", ".m3u")


def is_file(url: str) -> bool:
    """Whether ``url`` names a local file: a path or a ``file:`` URL."""
    return urlsplit(url).scheme in ("", "file")


def choose(url: str, reach: Reach, *, paced: bool = True, kinds: Mapping[str, SourceKind] | None = None) -> Source:
    """The source for ``url``. Nothing is opened or checked yet.

    :param paced: play recordings in real time; else as fast as the sink takes them.
    :param kinds: scheme to plug-in; None: the installed ones.
    :raises StreamError: UNSUPPORTED for other schemes, not retryable.
    """
    try:
        parts = urlsplit(url)
    except ValueError as err:
        raise StreamError(StreamReason.UNSUPPORTED, "not an address that can be read", retryable=False) from err
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
    kinds = installed_kinds() if kinds is None else kinds
    if kind := kinds.get(parts.scheme):
        return kind.source(url, reach)
    raise StreamError(
        StreamReason.UNSUPPORTED,
        f"scheme {parts.scheme!r}; allowed: {', '.join([*DEFAULT_PORTS, 'file', *kinds])}",
        retryable=False,
    )
