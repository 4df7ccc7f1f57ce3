"""What a source leaves out of a stream because nobody needs it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Gap:
    """What the source left out of the stream on purpose."""

    skipped_s: float = 0.0
    """Since the newest packet."""
    _whole_since: float | None = None
    """Stream time of the first packet after the last gap."""

    def skip(self, seconds: float) -> None:
        """The next ``seconds`` are left out."""
        self.skipped_s += seconds

    def arrived(self, stream_time: float) -> None:
        """A packet of ``stream_time`` (seconds) is here."""
        if self.skipped_s:
            self._whole_since = stream_time
        self.skipped_s = 0.0

    def within(self, oldest: float | None) -> bool:
        """Whether something is missing from ``oldest`` (stream time) on."""
        return bool(self.skipped_s) or (
            self._whole_since is not None and oldest is not None and oldest < self._whole_since
        )
