"""When to try a failed delivery again, as a pure function."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from monitor.errors import DeliveryError

BACKOFF_FIRST_S = 1.0
BACKOFF_LONGEST_S = 300.0
WAIT_LONGEST_S = 3600.0
"""More than this a receiver cannot ask for."""


class FailureKind(StrEnum):
    """What follows from a failed attempt: the log field and the metric label."""

    TRY_AGAIN = "try_again"
    ASKED_TO_WAIT = "asked_to_wait"
    """The receiver said for how long (Retry-After)."""
    REFUSED = "refused"
    """The same message will never be taken; it is dead."""
    GONE = "gone"
    """The receiver is gone for good (HTTP 410); it is disabled until the next start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPlan:
    """What to do with an entry whose attempt failed."""

    kind: FailureKind
    next_attempt_at: datetime
    """Meaningless when ``kind`` is refused."""


def backoff_s(failures: int, jitter: float) -> float:
    """Seconds to wait after the ``failures``-th failure in a row: doubling, from half to all of it.

    :param failures: 1 or more.
    :param jitter: 0 to 1, random.
    """
    longest = min(BACKOFF_LONGEST_S, BACKOFF_FIRST_S * 2.0 ** min(failures - 1, 30))
    return longest * (0.5 + 0.5 * jitter)


def plan_retry(error: DeliveryError, *, failures: int, now: datetime, jitter: float) -> RetryPlan:
    """What follows from ``error``.

    :param failures: attempts that failed, this one included.
    :param jitter: 0 to 1, random.
    """
    wait_s = backoff_s(failures, jitter)
    kind = FailureKind.TRY_AGAIN
    if error.disable:
        kind = FailureKind.GONE
    elif not error.retryable:
        kind = FailureKind.REFUSED
    elif error.retry_after_s is not None:
        kind = FailureKind.ASKED_TO_WAIT
        wait_s = max(wait_s, min(error.retry_after_s, WAIT_LONGEST_S))
    return RetryPlan(kind=kind, next_attempt_at=now + timedelta(seconds=wait_s))
