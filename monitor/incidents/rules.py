"""Which permission covers a sighting, or why none does."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime

from monitor.gallery.identity import Permission
from monitor.incidents.incident import Decision
from monitor.streams.stream import Stream

_CLOSEST_FIRST = (
    Decision.PERMITTED,
    Decision.ACCOUNT_SUSPENDED,
    Decision.TOO_MANY_ROOMS,
    Decision.KIND_NOT_PERMITTED,
    Decision.PERMISSION_EXPIRED,
    Decision.PERMISSION_NOT_YET_VALID,
)


def decide(
    permissions: Sequence[Permission], *, stream: Stream, now: datetime, rooms_now: Sequence[str]
) -> tuple[Decision, str]:
    """Judge one sighting by the identity's permissions.

    Each permission of the stream's platform and account is asked in this order: suspended? a day of its validity
    (UTC, both ends included)? the stream's kind? among the first ``max_concurrent_rooms`` rooms? One that passes all
    permits. Otherwise the permission that came closest gives the reason: suspended, too many rooms, kind, expired,
    not yet valid; without any permission for the account it is ``no_permission``.

    :param rooms_now: rooms of this account that show the identity now, the earliest-opened first, this one included.
    :returns: the decision, and the rule that was evaluated in words for the person on call.
    """
    today = now.astimezone(UTC).date()
    own = [p for p in permissions if (p.platform, p.account) == (stream.platform, stream.account)]
    verdicts = [_judge(permission, stream, today, rooms_now) for permission in own]
    if not verdicts:
        return Decision.NO_PERMISSION, _nobody_permitted(permissions, stream, today)
    return min(verdicts, key=lambda verdict: _CLOSEST_FIRST.index(verdict[0]))


def _judge(permission: Permission, stream: Stream, today: date, rooms_now: Sequence[str]) -> tuple[Decision, str]:
    account = f"{stream.platform}/{stream.account}"
    allowed = ", ".join(sorted(permission.kinds)) or "no kind at all"
    limit = permission.max_concurrent_rooms
    rank = rooms_now.index(stream.room) if stream.room in rooms_now else len(rooms_now)
    if permission.suspended:
        return Decision.ACCOUNT_SUSPENDED, f"the permission of {account} is suspended"
    if permission.valid_until is not None and today > permission.valid_until:
        return Decision.PERMISSION_EXPIRED, f"the permission of {account} ended on {permission.valid_until}"
    if permission.valid_from is not None and today < permission.valid_from:
        return Decision.PERMISSION_NOT_YET_VALID, f"the permission of {account} begins on {permission.valid_from}"
    if stream.kind not in permission.kinds:
        return Decision.KIND_NOT_PERMITTED, f"{account} may show {allowed}; this room is {stream.kind}"
    if limit is not None and rank >= limit:
        rooms = f"{limit} room" if limit == 1 else f"{limit} rooms"
        earlier = ", ".join(rooms_now[:limit]) or "none"
        return Decision.TOO_MANY_ROOMS, f"{account} may show {rooms} at a time; already showing: {earlier}"
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
