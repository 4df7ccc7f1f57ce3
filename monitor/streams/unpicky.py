"""A sink that needs every packet, for sources that could leave some out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from monitor.errors import StreamError
from monitor.streams.packet import Packet, PacketSink


class Unpicky:
    """Makes a PickySink of a sink that is none."""

    def __init__(self, sink: PacketSink) -> None:
        self.begin = sink.begin
        self.push = sink.push
        self.drained = sink.drained

    interval_s = 0.0

    def is_sparse(self, segment_s: float) -> bool:
        """Never."""
        return False

    def rest_s(self) -> float:
        """Everything is needed."""
        return 0.0

    def skip(self, seconds: float) -> None:
        """Nothing is left out."""

    def wants_refill(self) -> bool:
        """Nothing was left out."""
        return False

    def refill(self, packets: Sequence[Packet], received_bytes: int) -> None:
        """Nothing was left out."""

    async def pause(self, seconds: float) -> None:
        """Nothing ends the pause early."""
        await asyncio.sleep(seconds)

    def retried(self, error: StreamError) -> None:
        """Not counted."""
