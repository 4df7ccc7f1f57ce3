"""The rules' decisions in words for the person on call, and numbers and times as the pages show them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType

from monitor.incidents.incident import Decision
from monitor.sightings.presence import Presence

DECISION_TITLE: Mapping[Decision, str] = MappingProxyType(
    {
        Decision.PERMITTED: "Permitted",
        Decision.NO_PERMISSION: "No permission",
        Decision.PERMISSION_EXPIRED: "Permission expired",
        Decision.PERMISSION_NOT_YET_VALID: "Permission not yet valid",
        Decision.KIND_NOT_PERMITTED: "Kind of broadcast not permitted",
        Decision.TOO_MANY_ROOMS: "Too many rooms at once",
        Decision.ACCOUNT_SUSPENDED: "Account suspended",
    }
)

DECISION_SENTENCE: Mapping[Decision, str] = MappingProxyType(
    {
        Decision.PERMITTED: "This account may show this person, in this way, now.",
        Decision.NO_PERMISSION: "No permission lets this account show this person.",
        Decision.PERMISSION_EXPIRED: "This account's permission to show this person has run out.",
        Decision.PERMISSION_NOT_YET_VALID: "This account's permission to show this person has not begun.",
        Decision.KIND_NOT_PERMITTED: "This account may show this person, but not in this kind of broadcast.",
        Decision.TOO_MANY_ROOMS: "This account shows this person in more rooms at once than its permission allows.",
        Decision.ACCOUNT_SUSPENDED: "The person's team has suspended this account's permission.",
    }
)


PRESENCE_TITLE: Mapping[Presence, str] = MappingProxyType(
    {
        Presence.PRESENTER: "Presenter",
        Presence.INSET: "Inset",
        Presence.STATIC_IMAGE: "Still picture",
        Presence.BACKGROUND: "Background",
    }
)

PRESENCE_SENTENCE: Mapping[Presence, str] = MappingProxyType(
    {
        Presence.PRESENTER: "a moving face that no other in the picture outshines.",
        Presence.INSET: "a moving face in a window beside a larger one.",
        Presence.STATIC_IMAGE: "a picture of the face: a slide, a package, a photo held up.",
        Presence.BACKGROUND: "behind somebody else who presents: a poster, a passer-by.",
    }
)


def utc_text(moment: datetime) -> str:
    """``2026-01-02 03:04:05 UTC``."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def ago_text(moment: datetime, now: datetime) -> str:
    """``3 min ago``; ``just now`` within five seconds, and for a moment that clocks put in the future."""
    seconds = (now - moment).total_seconds()
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min"), (5, "s")):
        if seconds >= size:
            return f"{int(seconds // size) if unit != 's' else int(seconds)} {unit} ago"
    return "just now"


def duration_text(seconds: float) -> str:
    """``4.2 s``, ``3 min 5 s``, ``2 h 4 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
