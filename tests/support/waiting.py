"""Waits for a condition with a deadline; no test sleeps for a fixed time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def wait_for(condition: Callable[[], Awaitable[T] | T], *, timeout_s: float, what: str) -> T:
    """The first truthy value of ``condition``, asked ten times a second.

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
        await asyncio.sleep(0.1)
