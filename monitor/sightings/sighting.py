"""A track whose evidence passed: this identity, on this stream, from t0 to t1."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from monitor.faces.face import Box
from monitor.gallery.identity import Match
from monitor.sightings.presence import Bearing, Presence, View
from monitor.streams.packet import EncodedFrame


class EvidenceVerdict(StrEnum):
    """Whether a track's samples prove an identity, or the first reason why not."""

    PASSED = "passed"
    NOBODY_PROTECTED = "nobody_protected"
    LOOK_ALIKE = "look_alike"
    BELOW_SIMILARITY = "below_similarity"
    SMALL_MARGIN = "small_margin"
    TOO_FEW_SAMPLES = "too_few_samples"
    TOO_SHORT = "too_short"
    WEAK_EVIDENCE = "weak_evidence"
    """Enough pictures match, but a stranger could look so more often than the alert budget allows."""


_NOW = 3
"""Samples, the newest, that show how the likeness is shown now: as few as it can be told by."""

RESEMBLES_NOBODY = frozenset({EvidenceVerdict.NOBODY_PROTECTED, EvidenceVerdict.LOOK_ALIKE})
"""What calls for no second look, and of which nothing is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One picture of a track that was compared with the gallery."""

    stream_time: float
    """Seconds, within the stream's epoch."""
    utc: datetime
    box: Box
    match: Match
    frame: EncodedFrame = field(repr=False)
    """The encoded picture, kept while the track may still become evidence."""
    pts: int
    """Which picture of ``frame`` it was."""
    picture_width: int
    picture_height: int
    view: View | None = field(default=None, repr=False)
    """What the picture says of how the face is shown; None where that was not looked at."""


def clarity(sample: Sample) -> float:
    """Similarity, weighed with the face's quality: of two as similar the better picture, of poor ones the half."""
    quality = sample.view.quality if sample.view is not None else 1.0
    return sample.match.best.similarity * (0.5 + 0.5 * quality)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """One identity seen on one stream, with the samples that prove it."""

    id: str
    stream_id: str
    identity_id: str
    first_seen: datetime
    last_seen: datetime
    stream_time_first: float
    stream_time_last: float
    samples: tuple[Sample, ...] = field(repr=False)
    """The proving samples, oldest first, at most a bounded number."""
    best: Sample = field(repr=False)
    """The sample of the highest similarity."""
    samples_seen: int
    """How many pictures of the track were compared, since the sighting before this one if there was one."""
    samples_matched: int
    """How many of them passed the similarity threshold."""
    log_likelihood: float
    """What the pictures were worth when the sighting began: natural log of the likelihood ratio, this identity
    against a stranger."""
    log_likelihood_needed: float
    """What the alert budget asked for."""
    presence: Presence = Presence.PRESENTER
    """How the likeness is shown, by all its samples; once it presents, it stays so."""
    bearing: Bearing | None = None
    """What ``presence`` was decided by."""

    @property
    def clearest(self) -> Sample:
        """The sample to be shown to people: similar, and a good picture."""
        return max((self.best, *self.samples), key=clarity)

    @property
    def clearest_now(self) -> Sample:
        """As ``clearest``, of the newest few: of a poster whose owner stepped before it, the owner."""
        return max(self.samples[-_NOW:], key=clarity)

    @property
    def seconds(self) -> float:
        """How long the likeness has been on screen so far, stream time."""
        return self.stream_time_last - self.stream_time_first
