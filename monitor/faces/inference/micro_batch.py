"""Gathers what several workers want of one network into batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

BUCKETS = (1, 4, 8, 16, 32)
"""How many pictures a batch has. It is filled up to one of these: a graphics card prepares itself for each anew."""

LARGEST = BUCKETS[-1]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting(Generic[T]):
    """Some pictures of one size."""

    request: T
    shape: Hashable
    """Only equal ones share a batch."""
    count: int
    """Pictures, from 1 to ``LARGEST``."""
    since: float
    """Monotonic seconds."""


@dataclass(slots=True)
class MicroBatcher(Generic[T]):
    """Requests that wait for the network, by shape. Not safe across threads: its owner locks."""

    deadline_s: float
    """How long a request may wait for others."""
    _waiting: dict[Hashable, deque[Waiting[T]]] = field(default_factory=dict)

    def add(self, waiting: Waiting[T]) -> None:
        """Let a request wait.

        :raises ValueError: if it would not fit into any batch.
        """
        if not 1 <= waiting.count <= LARGEST:
            raise ValueError(f"a request has 1 to {LARGEST} pictures, not {waiting.count}")
        self._waiting.setdefault(waiting.shape, deque()).append(waiting)

    def take(self, now: float, *, more_may_come: bool) -> list[Waiting[T]]:
        """The next batch, the longest-waiting shape first; empty if it is better to wait.

        A batch is taken once it is full, once its oldest request has waited for ``deadline_s``, or at once where
        nobody is left who could add to it.
        """
        due = [
            queue
            for queue in self._waiting.values()
            if not more_may_come or now - queue[0].since >= self.deadline_s or _pictures(queue) >= LARGEST
        ]
        if not due:
            return []
        queue = min(due, key=lambda one: one[0].since)
        shape, taken, room = queue[0].shape, [], LARGEST
        while queue and queue[0].count <= room:
            taken.append(queue.popleft())
            room -= taken[-1].count
        if not queue:
            del self._waiting[shape]
        return taken

    def wake_in(self, now: float) -> float | None:
        """Seconds until a deadline passes; None while nothing waits."""
        oldest = min((queue[0].since for queue in self._waiting.values()), default=None)
        return None if oldest is None else max(0.0, oldest + self.deadline_s - now)


def bucket(pictures: int) -> int:
    """The smallest batch that holds so many."""
    return next(size for size in BUCKETS if size >= pictures)


def _pictures(queue: deque[Waiting[T]]) -> int:
    return sum(waiting.count for waiting in queue)
