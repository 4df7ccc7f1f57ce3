"""Turns what streaming servers tell into watched rooms, after they have had their answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence

from monitor.clock import Clock
from monitor.errors import MonitorError, StorageError
from monitor.streams.hook_config import HookConfig
from monitor.streams.hooks import PublishAction, PublishEvent, room_of, stream_id
from monitor.streams.roster import Origin, Roster
from monitor.streams.stream import StreamState

log = logging.getLogger(__name__)

MOST_WAITING = 2_000
_TRIES = 5
_PAUSE_S = 1.0
_SWEEP_S = 5.0
_ON_AIR = (StreamState.LIVE, StreamState.STALLED)


class PublishDesk:
    """Takes events at once and works them off in their order.

    :param states: stream id to its state; the supervisor's ``states``.
    """

    def __init__(
        self,
        hooks: Sequence[HookConfig],
        roster: Roster,
        states: Callable[[], Mapping[str, StreamState]],
        clock: Clock,
    ) -> None:
        self._patience = {hook.name: hook.forget_after_s for hook in hooks}
        self._roster = roster
        self._states = states
        self._clock = clock
        self._waiting: asyncio.Queue[tuple[HookConfig, PublishEvent]] = asyncio.Queue(MOST_WAITING)
        self._seen: dict[str, float] = {}

    def take(self, hook: HookConfig, event: PublishEvent) -> bool:
        """Have the event worked off later; False if too many wait already."""
        try:
            self._waiting.put_nowait((hook, event))
        except asyncio.QueueFull:
            return False
        return True

    async def run(self) -> None:
        """Work off events, and forget rooms whose end was never told, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._work_off(), name="hooks-events")
            group.create_task(self._sweep(), name="hooks-sweep")

    async def _work_off(self) -> None:
        while True:
            hook, event = await self._waiting.get()
            for attempt in range(1, _TRIES + 1):
                try:
                    await self._apply(hook, event)
                    break
                except StorageError as err:
                    log.error("hook_event_not_written hook=%s attempt=%d error=%s", hook.name, attempt, err)
                    if attempt < _TRIES:
                        await asyncio.sleep(_PAUSE_S)
                except (MonitorError, ValueError) as err:
                    log.warning("hook_event_refused hook=%s stream=%s error=%s", hook.name, stream_id(hook, event), err)
                    break

    async def _apply(self, hook: HookConfig, event: PublishEvent) -> None:
        if event.action is PublishAction.PUBLISHED:
            entry = room_of(hook, event)
            self._seen[entry.stream.id] = self._clock.monotonic()
            on_air = self._states().get(entry.stream.id) in _ON_AIR
            await self._roster.published(entry, on_air=on_air)
        else:
            await self._roster.unpublished(stream_id(hook, event), event.publisher)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_S)
            for silent in self._silent(self._clock.monotonic()):
                log.info("hook_stream_forgotten stream=%s", silent)
                try:
                    await self._roster.unpublished(silent, "")
                except StorageError as err:
                    log.error("hook_stream_not_forgotten stream=%s error=%s", silent, err)

    def _silent(self, now: float) -> list[str]:
        """Rooms of hooks that showed nothing for as long as their hook allows. A hook that was taken out of the
        settings allows nothing."""
        states = self._states()
        rooms = [entry for entry in self._roster.entries() if entry.origin is Origin.HOOK]
        self._seen = {entry.stream.id: self._seen.get(entry.stream.id, now) for entry in rooms}
        self._seen.update({stream: now for stream in self._seen if states.get(stream) in _ON_AIR})
        return [
            entry.stream.id
            for entry in rooms
            if now - self._seen[entry.stream.id] > self._patience.get(entry.hook, 0.0)
        ]
