"""The sequential test in its plainest form: enough matching pictures, far enough apart, over long enough."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from monitor.faces.face import PackInfo
from monitor.gallery.identity import Match
from monitor.sightings.config import SightingsConfig
from monitor.sightings.sighting import EvidenceVerdict, Sample

SPACING_S = 0.9
"""Pictures closer than this show the same moment; of such only one counts. Frames of one track are correlated."""


def assess_match(match: Match | None, pack: PackInfo) -> EvidenceVerdict:
    """Whether one picture matches its best identity: ``passed``, or the reason why not."""
    if match is None or match.best.similarity < pack.candidate_threshold:
        return EvidenceVerdict.NOBODY_PROTECTED
    if match.look_alike is not None and match.look_alike.similarity >= match.best.similarity + pack.margin:
        return EvidenceVerdict.LOOK_ALIKE
    if match.best.similarity < pack.similarity_threshold:
        return EvidenceVerdict.BELOW_SIMILARITY
    if match.margin < pack.margin:
        return EvidenceVerdict.SMALL_MARGIN
    return EvidenceVerdict.PASSED


def assess(samples: Sequence[Sample], config: SightingsConfig, pack: PackInfo) -> EvidenceVerdict:
    """Whether the samples of one track, in any order, prove the identity that most of them match.

    A refusal names the first condition, in the order of ``EvidenceVerdict``, that no sample or not enough samples meet.
    """
    proof = matching(samples, leading_identity(samples, pack), pack)
    if not proof:
        return _nearest([assess_match(sample.match, pack) for sample in samples])
    if len(spaced(sample.stream_time for sample in proof)) < config.min_samples:
        return EvidenceVerdict.TOO_FEW_SAMPLES
    if proof[-1].stream_time - proof[0].stream_time < config.min_seconds:
        return EvidenceVerdict.TOO_SHORT
    return EvidenceVerdict.PASSED


def leading_identity(samples: Iterable[Sample], pack: PackInfo) -> str | None:
    """The identity that most samples match (then: with the highest similarity); None if none matches."""
    votes: defaultdict[str, list[float]] = defaultdict(list)
    for sample in samples:
        if assess_match(sample.match, pack) is EvidenceVerdict.PASSED:
            votes[sample.match.best.identity_id].append(sample.match.best.similarity)
    return max(votes, key=lambda identity_id: (len(votes[identity_id]), max(votes[identity_id])), default=None)


def matching(samples: Iterable[Sample], identity_id: str | None, pack: PackInfo) -> list[Sample]:
    """The samples that match ``identity_id``, oldest first."""
    return sorted(
        (
            sample
            for sample in samples
            if sample.match.best.identity_id == identity_id
            and assess_match(sample.match, pack) is EvidenceVerdict.PASSED
        ),
        key=lambda sample: sample.stream_time,
    )


def spaced(stream_times: Iterable[float]) -> list[float]:
    """Of ascending ``stream_times`` as many as can stand at least ``SPACING_S`` apart, the first among them."""
    chosen: list[float] = []
    for stream_time in stream_times:
        # Presentation times are rounded to ticks; a microsecond must not cost a sample.
        if not chosen or stream_time - chosen[-1] >= SPACING_S - 1e-6:
            chosen.append(stream_time)
    return chosen


def _nearest(refusals: Sequence[EvidenceVerdict]) -> EvidenceVerdict:
    """The refusal that was closest to passing."""
    for verdict in (EvidenceVerdict.SMALL_MARGIN, EvidenceVerdict.BELOW_SIMILARITY):
        if verdict in refusals:
            return verdict
    return EvidenceVerdict.NOBODY_PROTECTED
