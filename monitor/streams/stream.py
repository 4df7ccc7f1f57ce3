"""A live room as it is configured, and the states that it goes through."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from monitor.errors import StreamReason
from monitor.redact import redact_url
from monitor.streams.sampling import SamplingPolicy


class BroadcastKind(StrEnum):
    """How a likeness is shown in a room; permissions list the kinds they allow."""

    LIVE = "live"
    DIGITAL_HUMAN = "digital_human"
    REBROADCAST = "rebroadcast"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """One room to watch."""

    id: str
    """Unique, chosen by the operator: ``douyin-8841``."""
    url: str = field(repr=False)
    """RTMP, HLS or HTTP-FLV address, or a file's path. It can hold a key: never logged."""
    platform: str
    account: str
    """The account that broadcasts, as permissions name it."""
    room: str
    title: str = ""
    products: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    kind: BroadcastKind = BroadcastKind.LIVE
    sampling: SamplingPolicy | None = None
    """None: as the settings say for all streams."""

    @property
    def redacted_url(self) -> str:
        """The address without path, query and credentials."""
        return redact_url(self.url)


class StreamState(StrEnum):
    """``connecting -> live -> stalled -> backing_off -> ended``; from any state back to connecting."""

    CONNECTING = "connecting"
    LIVE = "live"
    STALLED = "stalled"
    BACKING_OFF = "backing_off"
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamStatus:
    """What is known of a stream at one moment."""

    state: StreamState
    reason: StreamReason
    detail: str = ""
    """More about the reason, redacted."""
    since: datetime
    """UTC at which ``state`` was entered."""
    connects: int = 0
    """Connections tried so far."""
    frames_sampled: int = 0
    frames_dropped: int = 0
    """Sampled frames that a newer one replaced before they were analysed."""
    bytes_received: int = 0
    sampled_per_s: float = 0.0
    """Frames sampled a second, over the last half minute."""
