"""What all sightings of one incident add up to."""

from __future__ import annotations

from dataclasses import dataclass, replace

from monitor.sightings.sighting import Sighting

_REMEMBERED = 16
"""Sightings whose last counts are kept; a room seldom shows one identity on more tracks at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """How much of one sighting is in the totals already."""

    sighting_id: str
    samples_matched: int
    samples_seen: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Samples and seconds of an incident, each counted once.

    A sighting arrives again and again with growing numbers, and two of one room can overlap in time.
    """

    samples_matched: int = 0
    samples_seen: int = 0
    seconds: float = 0.0
    """Stream seconds with the likeness on screen; overlapping sightings count once."""
    counted: tuple[Counted, ...] = ()
    """The latest sightings, the most recent last."""
    epoch: int | None = None
    """Of the stream, to which ``until`` belongs."""
    until: float = 0.0
    """Stream time up to which ``seconds`` has been counted."""

    def plus(self, sighting: Sighting) -> Totals:
        """These totals with the newest state of ``sighting``."""
        before = next((known for known in self.counted if known.sighting_id == sighting.id), None)
        others = tuple(known for known in self.counted if known.sighting_id != sighting.id)
        now = Counted(
            sighting_id=sighting.id, samples_matched=sighting.samples_matched, samples_seen=sighting.samples_seen
        )
        epoch = sighting.best.frame.epoch
        begin = sighting.stream_time_first
        if epoch == self.epoch:
            begin = max(begin, self.until)
        return replace(
            self,
            samples_matched=self.samples_matched + now.samples_matched - (before.samples_matched if before else 0),
            samples_seen=self.samples_seen + now.samples_seen - (before.samples_seen if before else 0),
            seconds=self.seconds + max(0.0, sighting.stream_time_last - begin),
            counted=(*others, now)[-_REMEMBERED:],
            epoch=epoch,
            until=max(begin, sighting.stream_time_last),
        )
