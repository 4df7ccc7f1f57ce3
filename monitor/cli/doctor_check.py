"""One thing that ``monitor doctor`` looked at."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class CheckStatus(StrEnum):
    OK = "ok"
    WARN = "warn"
    """The daemon runs, but not as well as it could; or it cannot be told."""
    FAIL = "fail"
    """The daemon will not start, or will not work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What was found, and what to do about it."""

    name: str
    status: CheckStatus
    detail: str
    remedy: str = ""
    """Empty only when the status is ``ok``."""

    def __post_init__(self) -> None:
        if (self.status is CheckStatus.OK) == bool(self.remedy):
            raise ValueError(f"check {self.name}: a remedy belongs to what is not ok, and only to that")


def ok(name: str, detail: str) -> Check:
    """Nothing to do."""
    return Check(name=name, status=CheckStatus.OK, detail=detail)


def warn(name: str, detail: str, remedy: str) -> Check:
    """Worth a look."""
    return Check(name=name, status=CheckStatus.WARN, detail=detail, remedy=remedy)


def fail(name: str, detail: str, remedy: str) -> Check:
    """Must be put right."""
    return Check(name=name, status=CheckStatus.FAIL, detail=detail, remedy=remedy)
