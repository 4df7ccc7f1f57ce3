"""One room on the air: a clip that is repeated for ever, and when each of its instants was shown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

from monitor.clock import Clock
from monitor.demo.clip import Clip


@dataclass(frozen=True, slots=True, kw_only=True)
class Broadcast:
    """A clip on the air without an end; stream time counts on over its repetitions."""

    clip: Clip
    started_at: float
    """Monotonic seconds at which stream time 0 went on the air."""
    started_utc: datetime
    """The same moment in UTC."""

    @classmethod
    def begin(cls, clip: Clip, clock: Clock, on_air_for_s: float) -> Self:
        """On the air since ``on_air_for_s`` seconds ago."""
        return cls(
            clip=clip,
            started_at=clock.monotonic() - on_air_for_s,
            started_utc=clock.utc() - timedelta(seconds=on_air_for_s),
        )

    def utc_at(self, stream_time: float) -> datetime:
        """When a stream instant went on the air."""
        return self.started_utc + timedelta(seconds=stream_time)

    def pictures_from(self, stream_time: float) -> Iterator[tuple[float, int]]:
        """Encoded pictures without an end, from the last keyframe that was due by ``stream_time``.

        :return: stream seconds at which it is due to be sent, and its index among the clip's packets.
        """
        clip = self.clip
        repetition, within = divmod(max(0.0, stream_time), clip.duration_s)
        start = max(
            index for index, packet in enumerate(clip.packets) if packet.is_keyframe and clip.sent_at_s(index) <= within
        )
        begun = repetition * clip.duration_s
        while True:
            for index in range(start, len(clip.packets)):
                yield begun + clip.sent_at_s(index), index
            begun, start = begun + clip.duration_s, 0
