"""What a picture calls for."""

from __future__ import annotations

import pytest

from monitor.incidents.attention import attention
from monitor.incidents.incident import Decision
from monitor.sightings.sighting import EvidenceVerdict as Verdict
from monitor.streams.sampling import Attention

PERMITTED = next(decision for decision in Decision if not decision.is_violation)
VIOLATION = next(decision for decision in Decision if decision.is_violation)


@pytest.mark.parametrize(
    ("verdicts", "decisions", "called_for"),
    [
        ([], [], Attention.QUIET),
        ([Verdict.NOBODY_PROTECTED], [], Attention.QUIET),
        ([Verdict.NOBODY_PROTECTED, Verdict.TOO_SHORT], [], Attention.CANDIDATE),
        ([Verdict.BELOW_SIMILARITY], [], Attention.CANDIDATE),
        ([Verdict.PASSED], [PERMITTED], Attention.PERMITTED),
        ([Verdict.PASSED], [VIOLATION], Attention.VIOLATION),
        ([Verdict.PASSED, Verdict.PASSED], [PERMITTED, VIOLATION], Attention.VIOLATION),
        ([Verdict.PASSED, Verdict.BELOW_SIMILARITY], [PERMITTED], Attention.CANDIDATE),
        ([Verdict.PASSED], [], Attention.CANDIDATE),
    ],
)
def test_what_was_seen_decides_how_closely_a_room_is_looked_at(
    verdicts: list[Verdict], decisions: list[Decision], called_for: Attention
) -> None:
    assert attention(verdicts, decisions) is called_for
