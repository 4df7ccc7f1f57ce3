"""Waits for a condition with a deadline; no test sleeps for a fixed time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

_LONGEST_TURN_S = 0.05
"""A turn of the loop that takes longer is put down to the machine; that nothing blocks the loop is for other tests."""


async def wait_for(
    condition: Callable[[], Awaitable[T] | T], *, timeout_s: float, what: str, every_s: float = 0.1
) -> T:
    """The first truthy value of ``condition``.

    :param every_s: 0 for what passes: no turn of the loop is missed.
    :raises AssertionError: when it has none within ``timeout_s``.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if isinstance(value, Awaitable):
            value = await value
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s:g} s: {what} (last: {value!r})")
        await asyncio.sleep(every_s)


async def own_turn() -> float:
    """Let the loop go on for a hundredth of a second; the seconds of it that the machine did not take away."""
    began = time.monotonic()
    await asyncio.sleep(0.01)
    return min(time.monotonic() - began, _LONGEST_TURN_S)


async def in_own_time(awaitable: Awaitable[T], most_s: float) -> T:
    """What ``awaitable`` gives; for bounds that a machine which stands still for a second must not break.

    :raises AssertionError: when it takes more than ``most_s`` of the loop's own time.
    """
    task, passed = asyncio.ensure_future(awaitable), 0.0
    try:
        while not task.done():
            assert passed < most_s, f"not within {most_s:g} s"
            passed += await own_turn()
    finally:
        task.cancel()
        await asyncio.wait([task])
    return task.result()
