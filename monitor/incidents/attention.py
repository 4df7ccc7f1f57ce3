"""How closely a room is to be looked at, given what its last picture showed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from monitor.incidents.incident import Decision
from monitor.sightings.sighting import RESEMBLES_NOBODY, EvidenceVerdict
from monitor.streams.sampling import Attention


def attention(verdicts: Iterable[EvidenceVerdict], decisions: Sequence[Decision]) -> Attention:
    """What one picture calls for.

    :param verdicts: what each compared face's track proves.
    :param decisions: the rules' decision on each sighting that the picture extends.
    """
    if any(decision.is_violation for decision in decisions):
        return Attention.VIOLATION
    resembling = [verdict for verdict in verdicts if verdict not in RESEMBLES_NOBODY]
    if not resembling:
        return Attention.QUIET
    # Beside somebody permitted there may be somebody who is not: only a picture without doubt is settled.
    settled = len(decisions) == len(resembling) and all(verdict is EvidenceVerdict.PASSED for verdict in resembling)
    return Attention.PERMITTED if settled else Attention.CANDIDATE
