"""Which streams are watched at this moment, where each comes from, and who may change it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol
from urllib.parse import urlsplit

from monitor.errors import AddressRefused, StreamError, StreamRefusal, StreamRefused
from monitor.streams.kinds import network_address
from monitor.streams.stream import Stream

log = logging.getLogger(__name__)

MOST_STREAMS = 10_000
_CHECKS_AT_ONCE = 32
_STEP = 50
"""So many streams are begun or ended before the event loop has another turn."""


class Origin(StrEnum):
    """Where a stream's definition comes from; only from there it is changed."""

    FILE = "file"
    API = "api"
    HOOK = "hook"


@dataclass(frozen=True, slots=True, kw_only=True)
class RosterEntry:
    """One watched stream."""

    stream: Stream
    origin: Origin
    hook: str = ""
    """Name of the hook that announced it, for those of origin ``hook``."""
    publisher: str = ""
    """The streaming server's id of the connection that publishes; empty where it gives none."""

    @property
    def provisioned(self) -> bool:
        """Whether it stands in the streams file, and so cannot be changed here."""
        return self.origin is Origin.FILE


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What a change did; ids in the order in which they were given."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()


class StreamStore(Protocol):
    """Keeps the entries that do not stand in a file; the database is one."""

    async def load(self) -> Sequence[RosterEntry]:
        """All of them, oldest first.

        :raises StorageError: they cannot be read.
        """

    async def save(self, put: Sequence[RosterEntry], drop: Collection[str] = ()) -> None:
        """Write ``put`` and delete the ids in ``drop``, both or nothing.

        :raises StorageError: nothing was changed.
        """


class Watcher(Protocol):
    """Watches streams; the supervisor is one."""

    def add(self, stream: Stream) -> None:
        """Watch one more; one of the same id is replaced."""

    def remove(self, stream_id: str) -> None:
        """Watch it no longer; unknown ids are ignored."""


CheckAddress = Callable[[str], Awaitable[object]]
"""``AddressGuard.check``."""


class Roster:
    """The watched streams. Changes come one after the other; each is on disk before it takes effect.

    :param provisioned: the streams of the file; an entry of the store with the same id rests as long as it is there.
    :param check: asked about each address that comes over the API.
    """

    def __init__(
        self, provisioned: Iterable[Stream], store: StreamStore, watcher: Watcher, check: CheckAddress
    ) -> None:
        self._entries = {stream.id: RosterEntry(stream=stream, origin=Origin.FILE) for stream in provisioned}
        self._store = store
        self._watcher = watcher
        self._check = check
        self._one = asyncio.Lock()

    async def restore(self) -> None:
        """Take up what was kept, and begin to watch everything.

        :raises StorageError: the store cannot be read.
        """
        async with self._one:
            for entry in await self._store.load():
                if entry.stream.id in self._entries:
                    log.warning("stream_rests stream=%s origin=%s reason=in_the_file", entry.stream.id, entry.origin)
                else:
                    self._entries[entry.stream.id] = entry
            for index, entry in enumerate(self._entries.values()):
                self._watcher.add(entry.stream)
                await _breathe(index)

    async def provision(self, streams: Sequence[Stream]) -> Changes:
        """Make the streams of the file exactly these. What rested because of one that is gone is taken up again.

        :raises StreamRefused: TOO_MANY.
        :raises StorageError: nothing was changed.
        """
        async with self._one:
            wanted = {stream.id: stream for stream in streams}
            before = {key: entry.stream for key, entry in self._entries.items() if entry.provisioned}
            changes = Changes(
                added=tuple(key for key in wanted if key not in before),
                changed=tuple(key for key, stream in wanted.items() if before.get(key, stream) != stream),
                removed=tuple(key for key in before if key not in wanted),
                unchanged=tuple(key for key, stream in wanted.items() if before.get(key) == stream),
            )
            rested = [entry for entry in await self._store.load() if entry.stream.id in changes.removed]
            put = [RosterEntry(stream=wanted[key], origin=Origin.FILE) for key in (*changes.added, *changes.changed)]
            drop = set(changes.removed) - {entry.stream.id for entry in rested}
            self._require_room([*put, *rested], drop)
            await self._take_effect([*put, *rested], drop)
        return changes

    def entries(self) -> tuple[RosterEntry, ...]:
        """All of them: those of the file first, then in the order in which they came."""
        return tuple(sorted(self._entries.values(), key=lambda entry: not entry.provisioned))

    def get(self, stream_id: str) -> RosterEntry | None:
        """The entry of that id."""
        return self._entries.get(stream_id)

    def __len__(self) -> int:
        return len(self._entries)

    async def add(self, stream: Stream) -> bool:
        """Watch a stream; False if it was watched already, exactly so.

        :raises StreamRefused: EXISTS (otherwise), PROVISIONED, OWNED_BY_HOOK, ADDRESS, TOO_MANY.
        :raises StorageError: nothing was changed.
        """
        await self._check_addresses([stream])
        async with self._one:
            known = self._entries.get(stream.id)
            if known is not None:
                if known.origin is Origin.API and known.stream == stream:
                    return False
                self._require_api([stream.id])
                raise StreamRefused(
                    StreamRefusal.EXISTS, f"stream {stream.id!r} exists with another definition; change it with PATCH"
                )
            await self._apply([RosterEntry(stream=stream, origin=Origin.API)], ())
        return True

    async def change(self, stream_id: str, edit: Callable[[Stream], Stream]) -> Stream:
        """Put ``edit`` of the stream into its place; what it is now.

        :raises StreamRefused: UNKNOWN, PROVISIONED, OWNED_BY_HOOK, ADDRESS.
        :raises StorageError: nothing was changed.
        """
        while True:
            before = self._require(stream_id)
            self._require_api([stream_id])
            after = edit(before.stream)
            if after.url != before.stream.url:
                # Asks the resolver, which can take seconds: nobody else waits for it.
                await self._check_addresses([after])
            async with self._one:
                if self._entries.get(stream_id) is not before:
                    continue
                if after != before.stream:
                    await self._apply([replace(before, stream=after)], ())
                return after

    async def remove(self, stream_id: str) -> None:
        """Watch a stream no longer. One of a hook may be removed; it is back when it is published again.

        :raises StreamRefused: UNKNOWN, PROVISIONED.
        :raises StorageError: nothing was changed.
        """
        async with self._one:
            self._require(stream_id)
            self._require_unprovisioned([stream_id])
            await self._apply((), [stream_id])

    async def set_all(self, streams: Sequence[Stream]) -> Changes:
        """Make the streams of the API exactly these, in one step: all of it happens, or nothing.

        :raises StreamRefused: PROVISIONED, OWNED_BY_HOOK, ADDRESS, TOO_MANY; names every stream concerned.
        :raises StorageError: nothing was changed.
        """
        known = {entry.stream for entry in self._entries.values()}
        await self._check_addresses([stream for stream in streams if stream not in known])
        async with self._one:
            self._require_api([stream.id for stream in streams])
            before = {key: entry.stream for key, entry in self._entries.items() if entry.origin is Origin.API}
            wanted = {stream.id for stream in streams}
            changes = Changes(
                added=tuple(stream.id for stream in streams if stream.id not in before),
                changed=tuple(stream.id for stream in streams if before.get(stream.id, stream) != stream),
                removed=tuple(stream_id for stream_id in before if stream_id not in wanted),
                unchanged=tuple(stream.id for stream in streams if before.get(stream.id) == stream),
            )
            touched = {*changes.added, *changes.changed}
            put = [RosterEntry(stream=stream, origin=Origin.API) for stream in streams if stream.id in touched]
            await self._apply(put, changes.removed)
        return changes

    async def published(self, entry: RosterEntry, *, on_air: bool) -> bool:
        """A hook announced ``entry``; False if that was known already. A new publisher is connected to at once.

        Its address is checked when it is connected: whoever looks for the room sees then why it cannot be read.

        :param on_air: whether the room shows pictures now; asked only where the server does not name publishers.

        :raises StreamRefused: PROVISIONED or EXISTS: the id belongs to a stream that is no hook's; TOO_MANY.
        :raises StorageError: nothing was changed.
        """
        async with self._one:
            known = self._entries.get(entry.stream.id)
            if known == entry and (entry.publisher or on_air):
                return False
            if known is not None and known.origin is not Origin.HOOK:
                self._require_unprovisioned([entry.stream.id])
                raise StreamRefused(StreamRefusal.EXISTS, f"stream {entry.stream.id!r} came over the API")
            await self._apply([entry], ())
        return True

    async def unpublished(self, stream_id: str, publisher: str) -> bool:
        """A hook said that a stream ended; False if it is unknown, or another publisher has taken it over.

        :raises StorageError: nothing was changed.
        """
        async with self._one:
            known = self._entries.get(stream_id)
            if known is None or known.origin is not Origin.HOOK:
                return False
            if publisher and known.publisher and publisher != known.publisher:
                return False
            await self._apply((), [stream_id])
        return True

    async def _apply(self, put: Sequence[RosterEntry], drop: Collection[str]) -> None:
        self._require_room(put, drop)
        await self._store.save(put, drop)
        await self._take_effect(put, drop)

    async def _take_effect(self, put: Sequence[RosterEntry], drop: Collection[str]) -> None:
        for index, stream_id in enumerate(drop):
            del self._entries[stream_id]
            self._watcher.remove(stream_id)
            log.info("stream_removed stream=%s", stream_id)
            await _breathe(index)
        for index, entry in enumerate(put):
            self._entries[entry.stream.id] = entry
            self._watcher.add(entry.stream)
            log.info("stream_set stream=%s origin=%s hook=%s", entry.stream.id, entry.origin, entry.hook)
            await _breathe(index)

    def _require_room(self, put: Sequence[RosterEntry], drop: Collection[str]) -> None:
        new = sum(1 for entry in put if entry.stream.id not in self._entries)
        if len(self._entries) + new - len(drop) > MOST_STREAMS and new > len(drop):
            raise StreamRefused(StreamRefusal.TOO_MANY, f"more than {MOST_STREAMS} streams; remove some first")

    def _require(self, stream_id: str) -> RosterEntry:
        entry = self._entries.get(stream_id)
        if entry is None:
            raise StreamRefused(StreamRefusal.UNKNOWN, f"there is no stream {stream_id[:64]!r}")
        return entry

    def _require_unprovisioned(self, stream_ids: Iterable[str]) -> None:
        if found := self._of(stream_ids, Origin.FILE):
            raise StreamRefused(
                StreamRefusal.PROVISIONED, f"{found} stands in the streams file and is changed there; see streams_file"
            )

    def _require_api(self, stream_ids: Sequence[str]) -> None:
        self._require_unprovisioned(stream_ids)
        if found := self._of(stream_ids, Origin.HOOK):
            raise StreamRefused(
                StreamRefusal.OWNED_BY_HOOK, f"{found} was announced by a streaming server, whose events change it"
            )

    def _of(self, stream_ids: Iterable[str], origin: Origin) -> str:
        entries = [self._entries[stream_id] for stream_id in stream_ids if stream_id in self._entries]
        return ", ".join(repr(entry.stream.id) for entry in entries if entry.origin is origin)

    async def _check_addresses(self, streams: Sequence[Stream]) -> None:
        """:raises StreamRefused: ADDRESS. A name that has no address now may have one later: that is no reason."""
        hosts: dict[str, list[Stream]] = {}
        for stream in streams:
            if urlsplit(stream.url).scheme in ("", "file"):
                raise StreamRefused(
                    StreamRefusal.ADDRESS,
                    f"stream {stream.id!r}, url: a local file; allowed over the API: addresses of the network",
                )
            hosts.setdefault(urlsplit(network_address(stream.url)).netloc, []).append(stream)
        turns = asyncio.Semaphore(_CHECKS_AT_ONCE)

        async def check(meant: list[Stream]) -> str | None:
            async with turns:
                try:
                    await self._check(network_address(meant[0].url))
                except AddressRefused as err:
                    return f"stream {', '.join(repr(stream.id) for stream in meant)}, url: {err.detail}"
                except StreamError:
                    return None
            return None

        refused = [detail for detail in await asyncio.gather(*map(check, hosts.values())) if detail]
        if refused:
            raise StreamRefused(StreamRefusal.ADDRESS, "; ".join(refused[:20]))


async def _breathe(index: int) -> None:
    if index % _STEP == _STEP - 1:
        await asyncio.sleep(0)
