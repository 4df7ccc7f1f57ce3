"""What sources read with."""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass, field

from monitor.clock import Clock
from monitor.streams.config import StreamsConfig
from monitor.streams.guard import AddressGuard
from monitor.streams.http import GuardedHttp
from monitor.streams.rounds import Rounds


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """What sources read with; shared by all streams."""

    guard: AddressGuard
    http: GuardedHttp
    demuxers: Executor = field(repr=False)
    """Threads for short demuxing jobs (HLS segments)."""
    config: StreamsConfig
    clock: Clock
    rounds: Rounds = field(default_factory=Rounds, repr=False)
    """When live connections are read."""
