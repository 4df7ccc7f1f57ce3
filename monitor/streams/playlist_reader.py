"""Fetches HLS playlists and parses what is new of them."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor

from monitor.errors import StreamError, StreamReason
from monitor.streams.config import StreamsConfig
from monitor.streams.http import Fetched, GuardedHttp
from monitor.streams.playlist import MediaPlaylist, Variant
from monitor.streams.playlist_text import parse

# A thread costs more than parsing so little; a playlist of hours takes a tenth of a second.
_MOST_ON_LOOP = 8_192


class PlaylistReader:
    """Reads the playlists of one room; remembers the last one, which a live room mostly answers with again."""

    def __init__(self, http: GuardedHttp, parsers: Executor, config: StreamsConfig) -> None:
        self._http = http
        self._parsers = parsers
        self._config = config
        self._last: tuple[Fetched, MediaPlaylist | list[Variant]] | None = None

    async def read(self, url: str) -> MediaPlaylist | list[Variant]:
        """What ``url`` answers now: a media playlist, or the variants of a master playlist.

        :raises StreamError: the reason.
        """
        config = self._config
        fetched = await self._http.fetch(url, max_bytes=config.playlist_bytes, timeout_s=config.open_timeout_s)
        if self._last is not None and self._last[0] == fetched:
            return self._last[1]
        if len(fetched.body) <= _MOST_ON_LOOP:
            found = parse(fetched)
        else:
            found = await asyncio.get_running_loop().run_in_executor(self._parsers, parse, fetched)
        self._last = fetched, found
        return found

    async def media(self, url: str) -> MediaPlaylist:
        """The media playlist at ``url``.

        :raises StreamError: the reason; BAD_PLAYLIST also where it is a master playlist.
        """
        found = await self.read(url)
        if not isinstance(found, MediaPlaylist):
            raise StreamError(StreamReason.BAD_PLAYLIST, "a master playlist inside a master playlist")
        return found
