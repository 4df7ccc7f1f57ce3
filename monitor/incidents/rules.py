"""Which permission covers a sighting, or why none does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from monitor.gallery.identity import Permission
from monitor.incidents.incident import Decision
from monitor.streams.stream import BroadcastKind, Stream

CONCURRENT_FROM_S = 10.0
"""Two rooms show a likeness at the same time once their sightings overlap this long. HLS arrives that much later than
RTMP, so a broadcast that moves to another room seems to be in both for some seconds."""

_CLOSEST_FIRST = (
    Decision.PERMITTED,
    Decision.ACCOUNT_SUSPENDED,
    Decision.TOO_MANY_ROOMS,
    Decision.KIND_NOT_PERMITTED,
    Decision.PERMISSION_EXPIRED,
    Decision.PERMISSION_NOT_YET_VALID,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What the rules say of a sighting."""

    decision: Decision
    detail: str
    """The rule that was evaluated, in words for the person on call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Showing:
    """From when to when one room showed the likeness, as far as it is known by now."""

    room: str
    kind: BroadcastKind | None
    """None where it is not known: nothing was seen in the room since the daemon's start."""
    first_seen: datetime
    last_seen: datetime

    def overlap_s(self, other: Showing) -> float:
        """Seconds in which both rooms showed it; negative for a pause between them."""
        begin, end = max(self.first_seen, other.first_seen), min(self.last_seen, other.last_seen)
        return (end - begin).total_seconds()


def decide(
    permissions: Sequence[Permission],
    *,
    stream: Stream,
    now: datetime,
    showing: Showing,
    earlier: Sequence[Showing] = (),
    before: Decision | None = None,
) -> Judgement:
    """Judge one sighting by the identity's permissions.

    Each permission of the stream's platform and account is asked in this order: suspended? a day of its validity
    (UTC, both ends included)? the stream's kind? fewer than ``max_concurrent_rooms`` earlier rooms that count? One that
    passes all permits. Otherwise the permission that came closest gives the reason: suspended, too many rooms, kind,
    expired, not yet valid; without any permission for the account it is ``no_permission``.

    An earlier room counts if the permission covers its kind, and both show the likeness at the same time. What is
    ``too_many_rooms`` already stays so until the earlier room's incident is closed: a face that turns away for a while
    is no end of it.

    :param showing: the sighting's own room.
    :param earlier: the account's other rooms whose incidents of this identity are open and were opened earlier.
    :param before: the decision that holds until now; None for a new incident.
    """
    today = now.astimezone(UTC).date()
    own = [p for p in permissions if (p.platform, p.account) == (stream.platform, stream.account)]
    if not own:
        return Judgement(decision=Decision.NO_PERMISSION, detail=_nobody_permitted(permissions, stream, today))
    both = earlier
    if before is not Decision.TOO_MANY_ROOMS:
        both = [room for room in earlier if showing.overlap_s(room) >= CONCURRENT_FROM_S]
    verdicts = [_judge(permission, stream, today, both) for permission in own]
    decision, detail = min(verdicts, key=lambda verdict: _CLOSEST_FIRST.index(verdict[0]))
    return Judgement(decision=decision, detail=detail)


def _judge(permission: Permission, stream: Stream, today: date, earlier: Sequence[Showing]) -> tuple[Decision, str]:
    account = f"{stream.platform}/{stream.account}"
    allowed = ", ".join(sorted(permission.kinds)) or "no kind at all"
    limit = permission.max_concurrent_rooms
    rooms = [room.room for room in earlier if room.kind is None or room.kind in permission.kinds]
    if permission.suspended:
        return Decision.ACCOUNT_SUSPENDED, f"the permission of {account} is suspended"
    if permission.valid_until is not None and today > permission.valid_until:
        return Decision.PERMISSION_EXPIRED, f"the permission of {account} ended on {permission.valid_until}"
    if permission.valid_from is not None and today < permission.valid_from:
        return Decision.PERMISSION_NOT_YET_VALID, f"the permission of {account} begins on {permission.valid_from}"
    if stream.kind not in permission.kinds:
        return Decision.KIND_NOT_PERMITTED, f"{account} may show {allowed}; this room is {stream.kind}"
    if limit is not None and len(rooms) >= limit:
        many = f"{limit} room" if limit == 1 else f"{limit} rooms"
        showing = ", ".join(rooms[:limit]) or "none"
        return Decision.TOO_MANY_ROOMS, f"{account} may show {many} at a time; already showing: {showing}"
    return Decision.PERMITTED, f"{account} may show {allowed}{_validity(permission)}"


def _validity(permission: Permission) -> str:
    begin = f" from {permission.valid_from}" if permission.valid_from else ""
    end = f" until {permission.valid_until}" if permission.valid_until else ""
    return begin + end


def _nobody_permitted(permissions: Sequence[Permission], stream: Stream, today: date) -> str:
    reason = f"no permission for {stream.platform}/{stream.account}"
    valid = [permission for permission in permissions if _is_in_force(permission, today)]
    here = sorted({permission.account for permission in valid if permission.platform == stream.platform})
    elsewhere = sorted({f"{permission.platform}/{permission.account}" for permission in valid})
    if here:
        return f"{reason}; permitted accounts on {stream.platform}: {', '.join(here)}"
    if elsewhere:
        return f"{reason}; nobody is permitted on {stream.platform}; permitted elsewhere: {', '.join(elsewhere)}"
    return f"{reason}; no account is permitted anywhere now"


def _is_in_force(permission: Permission, today: date) -> bool:
    begun = permission.valid_from is None or permission.valid_from <= today
    ended = permission.valid_until is not None and permission.valid_until < today
    return begun and not ended and not permission.suspended
