"""Visits live streams in turn. What they send gathers meanwhile: waking up for it costs more than reading it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

Visit = Callable[[], None]

ROUND_S = 0.2
"""Seconds between two visits of the same stream."""
_MOST_TOGETHER = 16
"""Visited one right after the other; few enough not to hold up the loop."""


class _Group:
    """Streams that are visited at the same moment."""

    def __init__(self) -> None:
        self.visits: list[Visit] = []
        self.timer: asyncio.TimerHandle | None = None


class Rounds:
    """The rounds of one event loop. A visit must not raise."""

    def __init__(self) -> None:
        self._groups: list[_Group] = []

    def join(self, visit: Visit) -> Callable[[], None]:
        """Call ``visit`` every ``ROUND_S`` from now on, until what is returned is called."""
        group = next((group for group in self._groups if len(group.visits) < _MOST_TOGETHER), None)
        if group is None:
            # It begins now, which is at some other moment than those before.
            group = _Group()
            self._groups.append(group)
            self._arm(group)
        group.visits.append(visit)
        return lambda: self._leave(group, visit)

    def _leave(self, group: _Group, visit: Visit) -> None:
        if visit in group.visits:
            group.visits.remove(visit)
        if not group.visits and group.timer is not None:
            group.timer.cancel()
            group.timer = None
            self._groups.remove(group)

    def _arm(self, group: _Group) -> None:
        group.timer = asyncio.get_running_loop().call_later(ROUND_S, self._go, group)

    def _go(self, group: _Group) -> None:
        self._arm(group)
        for visit in tuple(group.visits):
            visit()
