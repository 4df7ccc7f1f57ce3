"""One face followed through the pictures of a stream, and the evidence gathered on it."""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter, itemgetter

from ulid import ULID

from monitor.faces.face import Box, Embedding, PackInfo, Quality, SettledFace
from monitor.gallery.identity import Match
from monitor.sightings.config import SightingsConfig
from monitor.sightings.evidence import SPACING_S, assess, assess_match, leading_identity, matching
from monitor.sightings.presence import Bearing, Presence, View, presence_of
from monitor.sightings.sequential_test import MOST_PICTURES, Comparison, SequentialTest
from monitor.sightings.sighting import RESEMBLES_NOBODY, EvidenceVerdict, Sample, Sighting, clarity

MAX_SAMPLES = 16
"""Samples, each with its encoded picture, that a track keeps."""

_MAX_APPEARANCES = 8
_MOST_VIEWS = 10
"""The newest say how the likeness is shown: who was a still picture for an hour presents as soon as they move."""

_CLEARLY = 0.5
"""Share of the pack's margin by which a face must stay below the candidate threshold to be settled: the similarities of
one face spread by about as much (standard deviation), so that the next might be a candidate's."""
_ROUNDING_S = 0.05
"""A picture that comes so much too early, because streams round their clocks, is the one that was waited for."""

_by_time = attrgetter("stream_time")


@dataclass(frozen=True, slots=True, kw_only=True)
class Appearance:
    """Where a face was and how it looked in one picture."""

    stream_time: float
    box: Box
    embedding: Embedding = field(repr=False)
    quality: Quality
    grid: bytes = field(repr=False)
    """As in :class:`monitor.faces.face.Face`."""
    embedded_at: float
    """Stream time of the picture that ``embedding``, ``quality`` and ``grid`` are of: an earlier one than
    ``stream_time`` where the face was settled."""


class Track:
    """Changes with every picture its face is in; only its tracker touches it. Pictures may come out of order."""

    def __init__(self, id_: int, stream_id: str, config: SightingsConfig, pack: PackInfo, test: SequentialTest) -> None:
        self.id = id_
        self.announced = False
        """The tracker has handed its sighting out."""
        self._stream_id = stream_id
        self._config = config
        self._pack = pack
        self._test = test
        self._comparisons: list[Comparison] = []
        self._log_likelihood = 0.0
        self._appearances: list[Appearance] = []
        self._began = math.inf
        self._samples: list[Sample] = []
        self._sighting: Sighting | None = None
        self._seen = 0
        self._matched = 0
        self._burst: _Burst | None = None
        self._views: list[tuple[float, View]] = []
        self._is_double = False
        """In some picture it was nearer to a protected person's look-alike than to the person."""

    @property
    def last_seen(self) -> float:
        """Stream time of its latest appearance."""
        return self._appearances[-1].stream_time

    def appearance_near(self, stream_time: float) -> Appearance:
        """The remembered appearance that is nearest in time."""
        return min(self._appearances, key=lambda appearance: abs(appearance.stream_time - stream_time))

    def appear(self, appearance: Appearance) -> None:
        """Remember where the face was; only the latest few are kept."""
        bisect.insort(self._appearances, appearance, key=_by_time)
        del self._appearances[:-_MAX_APPEARANCES]
        self._began = min(self._began, appearance.stream_time)

    def appear_settled(self, stream_time: float, box: Box) -> None:
        """Remember where the face was seen again without being embedded."""
        self.appear(replace(self._appearances[-1], stream_time=stream_time, box=box))

    def settled(self, stream_time: float) -> tuple[SettledFace, ...]:
        """What to know the face by in the picture of that time, each look that was embedded lately; nothing where it
        must be embedded.

        It need not be if two pictures, far enough apart, were compared, none of the track was a candidate for anybody
        or resembled a look-alike, and the newest was embedded less than ``reembed_interval_s`` before.
        """
        newest = self._appearances[-1]
        fresh = 0 <= stream_time - newest.embedded_at < self._config.reembed_interval_s - _ROUNDING_S
        present = stream_time - newest.stream_time <= self._config.track_lost_after_s
        if not (fresh and present and self._is_clearly_nobody()):
            return ()
        looks = {appearance.embedded_at: appearance for appearance in self._appearances}
        return tuple(
            SettledFace(number=self.id, box=newest.box, quality=look.quality, grid=look.grid) for look in looks.values()
        )

    def compared(self, stream_time: float, match: Match | None, sample: Sample | None) -> EvidenceVerdict:
        """Add one comparison to the evidence; returns what the track proves now.

        While a sighting runs, the verdict is about this picture: ``passed`` where it extends the sighting, else why it
        does not. A sighting that nothing extended for ``track_lost_after_s`` is over, as if the face had left: it may
        be somebody else's by now, so the next sighting needs evidence of its own.

        :param sample: the comparison with its picture where it reached the candidate threshold, else None.
        """
        self._end_if_stale()
        self._seen += 1
        if sample is not None and sample.view is not None:
            self._view(stream_time, sample.view)
        self._is_double |= assess_match(match, self._pack) is EvidenceVerdict.LOOK_ALIKE
        self._count_burst(stream_time, match)
        if self._sighting is not None:
            return self._extend(self._sighting, match, sample)
        self._gather(stream_time, match, sample)
        verdict = assess(self._samples, self._config, self._pack)
        if verdict is EvidenceVerdict.PASSED:
            return self._weigh()
        # Of look-alikes no sample is kept, as of nobody; the track has nothing else to say.
        known_other = (
            verdict is EvidenceVerdict.NOBODY_PROTECTED and assess_match(match, self._pack) in RESEMBLES_NOBODY
        )
        return assess_match(match, self._pack) if known_other else verdict

    @property
    def stranger(self) -> Embedding | None:
        """How the face looked, if it was seen more than once and never resembled anybody."""
        if self._seen < 2 or self._burst is not None or self._is_double:
            return None
        return self._appearances[len(self._appearances) // 2].embedding

    @property
    def sighting(self) -> Sighting | None:
        """The sighting as of the last picture that belongs to it; None while the evidence has not passed."""
        return self._sighting

    def burst_wanted(self) -> tuple[float, ...]:
        """Stream times that would decide whether the candidate is a sighting, most wanted first."""
        if self._sighting is not None or self._burst is None or self._burst.fading:
            return ()
        steps = [-1, *range(1, self._config.burst_samples)][: self._config.burst_samples]
        return tuple(self._burst.origin + step * burst_step(self._config) for step in steps)

    def _is_clearly_nobody(self) -> bool:
        if self._seen < 2 or self._burst is not None or self._is_double:
            return False
        closest = max((comparison.match.best.similarity for comparison in self._comparisons), default=-1.0)
        spaced = self._appearances[-1].embedded_at - self._began >= SPACING_S
        return spaced and closest < self._pack.candidate_threshold - _CLEARLY * self._pack.margin

    def _view(self, stream_time: float, view: View) -> None:
        """Keep the newest views, in the order of their time."""
        bisect.insort(self._views, (stream_time, view), key=itemgetter(0))
        oldest = self.last_seen - self._config.evidence_window_s
        self._views = [kept for kept in self._views if kept[0] >= oldest][-_MOST_VIEWS:]

    def _gather(self, stream_time: float, match: Match | None, sample: Sample | None) -> None:
        """Keep what the evidence window holds."""
        if sample is not None:
            bisect.insort(self._samples, sample, key=_by_time)
        if match is not None and assess_match(match, self._pack) is not EvidenceVerdict.LOOK_ALIKE:
            bisect.insort(self._comparisons, Comparison(stream_time=stream_time, match=match), key=_by_time)
        oldest = self.last_seen - self._config.evidence_window_s
        self._samples = thinned([kept for kept in self._samples if kept.stream_time >= oldest])
        self._comparisons = [kept for kept in self._comparisons if kept.stream_time >= oldest][-MOST_PICTURES:]

    def _weigh(self) -> EvidenceVerdict:
        """Begin a sighting if the pictures are worth the alert budget."""
        identity_id = leading_identity(self._samples, self._pack)
        assert identity_id is not None
        self._log_likelihood = self._test.log_likelihood(self._comparisons, identity_id)
        if self._log_likelihood < self._test.limit:
            return EvidenceVerdict.WEAK_EVIDENCE
        self._begin(identity_id)
        return EvidenceVerdict.PASSED

    def _begin(self, identity_id: str) -> None:
        self._comparisons.clear()
        self._samples = matching(self._samples, identity_id, self._pack)
        self._matched = len(self._samples)
        self._sighting = self._sight(str(ULID.from_datetime(self._samples[0].utc)), identity_id)

    def _end_if_stale(self) -> None:
        if self._sighting is None:
            return
        if self.last_seen - self._sighting.stream_time_last <= self._config.track_lost_after_s:
            return
        self._sighting = None
        self.announced = False
        self._samples.clear()
        self._views.clear()
        self._seen = self._matched = 0

    def _extend(self, sighting: Sighting, match: Match | None, sample: Sample | None) -> EvidenceVerdict:
        verdict = assess_match(match, self._pack)
        if sample is None or verdict is not EvidenceVerdict.PASSED:
            return verdict
        if sample.match.best.identity_id != sighting.identity_id:
            return EvidenceVerdict.BELOW_SIMILARITY
        self._matched += 1
        bisect.insort(self._samples, sample, key=_by_time)
        self._samples = thinned(self._samples)
        self._sighting = self._sight(sighting.id, sighting.identity_id)
        return EvidenceVerdict.PASSED

    def _sight(self, id_: str, identity_id: str) -> Sighting:
        first, last = self._samples[0], self._samples[-1]
        presence, bearing = self._presence()
        return Sighting(
            id=id_,
            stream_id=self._stream_id,
            identity_id=identity_id,
            first_seen=first.utc,
            last_seen=last.utc,
            stream_time_first=first.stream_time,
            stream_time_last=last.stream_time,
            samples=tuple(self._samples),
            best=max(self._samples, key=similarity),
            samples_seen=self._seen,
            samples_matched=self._matched,
            log_likelihood=self._log_likelihood,
            log_likelihood_needed=self._test.limit,
            presence=presence,
            bearing=bearing,
        )

    def _presence(self) -> tuple[Presence, Bearing | None]:
        # Who once presented is not measured again: later stillness would not take it back.
        if self._sighting is not None and self._sighting.presence is Presence.PRESENTER:
            return self._sighting.presence, self._sighting.bearing
        views = [view for _, view in self._views]
        bearing = Bearing.of(views) if views else None
        return presence_of(bearing) if bearing else Presence.PRESENTER, bearing

    def _count_burst(self, stream_time: float, match: Match | None) -> None:
        verdict = assess_match(match, self._pack)
        if self._burst is not None:
            self._burst.seen += 1
            self._burst.candidates += verdict not in RESEMBLES_NOBODY
        if verdict in RESEMBLES_NOBODY:
            return
        # The first candidate is worth a burst; later ones only if they alone reach the similarity threshold.
        rested = self._burst is not None and stream_time - self._burst.origin >= self._config.burst_rest_s
        if self._burst is None or (rested and verdict is not EvidenceVerdict.BELOW_SIMILARITY):
            self._burst = _Burst(origin=stream_time)


@dataclass(slots=True, kw_only=True)
class _Burst:
    """Denser pictures asked for around a candidate."""

    origin: float
    """Stream time of the candidate."""
    seen: int = 1
    candidates: int = 1

    @property
    def fading(self) -> bool:
        """Most pictures since showed no candidate; more of them would prove nothing."""
        return self.seen >= 3 and self.candidates * 2 < self.seen


def burst_step(config: SightingsConfig) -> float:
    """Seconds between the pictures of a burst: just enough for the evidence to be complete with the fewest."""
    # 5 % more than needed, because a picture lies up to a frame's length before the instant that was wanted.
    return 1.05 * max(SPACING_S, config.min_seconds / max(1, config.min_samples - 1))


def similarity(sample: Sample) -> float:
    """The sample's similarity to its best identity."""
    return sample.match.best.similarity


def thinned(samples: Sequence[Sample]) -> list[Sample]:
    """At most ``MAX_SAMPLES`` of ``samples`` (oldest first), spread over the time.

    The first, the last, the best and the clearest stay.
    """
    kept = list(samples)
    while len(kept) > MAX_SAMPLES:
        worthy = (max(kept, key=similarity), max(kept, key=clarity))
        inner = [i for i in range(1, len(kept) - 1) if not any(kept[i] is one for one in worthy)]
        del kept[min(inner, key=lambda i: kept[i + 1].stream_time - kept[i - 1].stream_time)]
    return kept
