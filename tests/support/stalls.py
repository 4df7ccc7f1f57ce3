"""How often the machine itself lets a sleeper wait: what a process that does nothing else sees of it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_SLEEPER = """
import time
while True:
    due = time.monotonic() + 0.01
    time.sleep(0.01)
    late = time.monotonic() - due
    if late > 0.04:
        print(late, flush=True)
"""


class Stalls(list[float]):
    """Seconds by which the sleeper woke too late, where that was more than 0.04; complete after the block."""

    def beyond(self, seconds: float) -> int:
        """How many were longer."""
        return sum(late > seconds for late in self)


@asynccontextmanager
async def machine_stalls() -> AsyncIterator[Stalls]:
    """The stalls of the machine during the block."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", _SLEEPER, stdout=asyncio.subprocess.PIPE)
    stalls = Stalls()
    try:
        yield stalls
    finally:
        process.kill()
        output, _ = await process.communicate()
        stalls += [float(line) for line in output.split()]
