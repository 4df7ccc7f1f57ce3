"""The permission matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from support.violations import START, make_permission, make_stream

from monitor.gallery.identity import Permission
from monitor.incidents.incident import Decision
from monitor.incidents.rules import CONCURRENT_FROM_S, Showing, decide
from monitor.streams.stream import BroadcastKind

TODAY = START.date()
DAY = timedelta(days=1)
LIVE = frozenset({BroadcastKind.LIVE})
REBROADCAST = frozenset({BroadcastKind.REBROADCAST})


def shown(room: str, first: float, last: float, kind: BroadcastKind | None = BroadcastKind.LIVE) -> Showing:
    """``room`` showing the likeness from ``first`` to ``last``, seconds after ``START``."""
    return Showing(
        room=room, kind=kind, first_seen=START + timedelta(seconds=first), last_seen=START + timedelta(seconds=last)
    )


def judge(
    *permissions: Permission,
    now: datetime = START,
    showing: Showing | None = None,
    earlier: Sequence[Showing] = (),
    before: Decision | None = None,
    **stream: Any,
) -> tuple[Decision, str]:
    judgement = decide(
        permissions,
        stream=make_stream(account="obama-official", **stream),
        now=now,
        showing=showing or shown("room-1", 0, 60),
        earlier=earlier,
        before=before,
    )
    return judgement.decision, judgement.detail


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, Decision.PERMITTED),
        ({"valid_from": TODAY, "valid_until": TODAY}, Decision.PERMITTED),
        ({"valid_from": TODAY - DAY}, Decision.PERMITTED),
        ({"valid_from": TODAY + DAY}, Decision.PERMISSION_NOT_YET_VALID),
        ({"valid_until": TODAY + DAY}, Decision.PERMITTED),
        ({"valid_until": TODAY - DAY}, Decision.PERMISSION_EXPIRED),
        ({"kinds": LIVE}, Decision.PERMITTED),
        ({"kinds": REBROADCAST}, Decision.KIND_NOT_PERMITTED),
        ({"kinds": frozenset()}, Decision.KIND_NOT_PERMITTED),
        ({"max_concurrent_rooms": 1}, Decision.PERMITTED),
        ({"max_concurrent_rooms": 0}, Decision.TOO_MANY_ROOMS),
        ({"suspended": True}, Decision.ACCOUNT_SUSPENDED),
        ({"suspended": True, "valid_until": TODAY - DAY, "kinds": REBROADCAST}, Decision.ACCOUNT_SUSPENDED),
        ({"valid_until": TODAY - DAY, "kinds": REBROADCAST}, Decision.PERMISSION_EXPIRED),
        ({"valid_from": TODAY + DAY, "kinds": REBROADCAST}, Decision.PERMISSION_NOT_YET_VALID),
        ({"kinds": REBROADCAST, "max_concurrent_rooms": 0}, Decision.KIND_NOT_PERMITTED),
        ({"platform": "elsewhere"}, Decision.NO_PERMISSION),
        ({"account": "somebody-else"}, Decision.NO_PERMISSION),
        ({"account": "Obama-Official"}, Decision.NO_PERMISSION),
    ],
)
def test_one_permission_is_judged_by_its_first_failing_condition(changes: dict[str, Any], expected: Decision) -> None:
    assert judge(make_permission(**changes))[0] is expected


LADDER = [
    (Decision.PERMITTED, {}),
    (Decision.ACCOUNT_SUSPENDED, {"suspended": True}),
    (Decision.TOO_MANY_ROOMS, {"max_concurrent_rooms": 0}),
    (Decision.KIND_NOT_PERMITTED, {"kinds": REBROADCAST}),
    (Decision.PERMISSION_EXPIRED, {"valid_until": TODAY - DAY}),
    (Decision.PERMISSION_NOT_YET_VALID, {"valid_from": TODAY + DAY}),
    (Decision.NO_PERMISSION, {"account": "somebody-else"}),
]


@pytest.mark.parametrize("better", range(len(LADDER)))
@pytest.mark.parametrize("worse", range(len(LADDER)))
def test_of_two_permissions_the_more_helpful_reason_wins_in_either_order(better: int, worse: int) -> None:
    if better > worse:
        better, worse = worse, better
    first, second = make_permission(**LADDER[better][1]), make_permission(**LADDER[worse][1])
    assert judge(first, second)[0] is LADDER[better][0]
    assert judge(second, first)[0] is LADDER[better][0]


def test_only_the_rooms_beyond_the_earliest_opened_are_too_many() -> None:
    permission = make_permission(max_concurrent_rooms=2)
    rooms = [shown(room, 0, 60) for room in ("c", "a", "b", "d")]
    decisions = {
        room.room: judge(permission, showing=room, earlier=rooms[:rank], room=room.room)[0]
        for rank, room in enumerate(rooms)
    }
    assert decisions == {
        "c": Decision.PERMITTED,
        "a": Decision.PERMITTED,
        "b": Decision.TOO_MANY_ROOMS,
        "d": Decision.TOO_MANY_ROOMS,
    }


@pytest.mark.parametrize(
    ("earlier", "expected"),
    [
        (shown("a", -600, -100), Decision.PERMITTED),
        (shown("a", -600, 0), Decision.PERMITTED),
        (shown("a", -600, CONCURRENT_FROM_S - 0.1), Decision.PERMITTED),
        (shown("a", -600, CONCURRENT_FROM_S), Decision.TOO_MANY_ROOMS),
        (shown("a", 60 - CONCURRENT_FROM_S, 70), Decision.TOO_MANY_ROOMS),
        (shown("a", 60.1 - CONCURRENT_FROM_S, 70), Decision.PERMITTED),
    ],
)
def test_a_broadcast_that_moved_from_one_room_to_another_is_one_room(earlier: Showing, expected: Decision) -> None:
    permission = make_permission(max_concurrent_rooms=1)
    assert judge(permission, showing=shown("b", 0, 60), earlier=[earlier], room="b")[0] is expected


def test_too_many_rooms_lasts_until_the_earlier_room_is_closed() -> None:
    permission = make_permission(max_concurrent_rooms=1)
    turned_away = shown("a", -600, -5)
    for kind in (BroadcastKind.LIVE, None):
        earlier = [replace(turned_away, kind=kind)]
        assert judge(permission, earlier=earlier, before=Decision.TOO_MANY_ROOMS)[0] is Decision.TOO_MANY_ROOMS
        assert judge(permission, earlier=earlier, before=Decision.PERMITTED)[0] is Decision.PERMITTED
    assert judge(permission, earlier=[], before=Decision.TOO_MANY_ROOMS)[0] is Decision.PERMITTED


@pytest.mark.parametrize("before", [None, Decision.PERMITTED, Decision.TOO_MANY_ROOMS])
def test_rooms_of_kinds_that_a_permission_does_not_cover_do_not_count_towards_its_limit(
    before: Decision | None,
) -> None:
    live = make_permission(kinds=LIVE, max_concurrent_rooms=1)
    rebroadcast = make_permission(kinds=REBROADCAST, max_concurrent_rooms=1)
    earlier = [shown("a", 0, 60, BroadcastKind.LIVE)]
    kind = BroadcastKind.REBROADCAST
    assert judge(live, rebroadcast, earlier=earlier, before=before, kind=kind)[0] is Decision.PERMITTED
    earlier.append(shown("b", 0, 60, kind))
    assert judge(live, rebroadcast, earlier=earlier, before=before, kind=kind) == (
        Decision.TOO_MANY_ROOMS,
        "demo/obama-official may show 1 room at a time; already showing: b",
    )


def test_validity_is_counted_in_utc_days() -> None:
    until_today = make_permission(valid_until=date(2026, 3, 4))
    shanghai = timezone(timedelta(hours=8))
    assert judge(until_today, now=datetime(2026, 3, 5, 7, 59, tzinfo=shanghai))[0] is Decision.PERMITTED
    assert judge(until_today, now=datetime(2026, 3, 5, 8, 0, tzinfo=shanghai))[0] is Decision.PERMISSION_EXPIRED
    assert judge(until_today, now=datetime(2026, 3, 4, 23, 59, 59, tzinfo=UTC))[0] is Decision.PERMITTED


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (datetime(2026, 3, 3, 23, 59, 59, 999999, tzinfo=UTC), Decision.PERMISSION_NOT_YET_VALID),
        (datetime(2026, 3, 4, tzinfo=UTC), Decision.PERMITTED),
        (datetime(2026, 3, 5, 23, 59, 59, 999999, tzinfo=UTC), Decision.PERMITTED),
        (datetime(2026, 3, 6, tzinfo=UTC), Decision.PERMISSION_EXPIRED),
    ],
)
def test_both_ends_of_the_validity_are_whole_days(now: datetime, expected: Decision) -> None:
    two_days = make_permission(valid_from=date(2026, 3, 4), valid_until=date(2026, 3, 5))
    for zone in (UTC, timezone(timedelta(hours=8)), timezone(timedelta(hours=-11))):
        assert judge(two_days, now=now.astimezone(zone))[0] is expected


def test_the_words_name_the_account_and_who_is_permitted_instead() -> None:
    permissions = (
        make_permission("obama-official"),
        make_permission("obama-shop"),
        make_permission("obama-old", valid_until=TODAY - DAY),
        make_permission("obama-tv", platform="elsewhere"),
    )

    def words(*given: Permission) -> str:
        stream = make_stream(account="obama-clone")
        judgement = decide(given, stream=stream, now=START, showing=shown("room-1", 0, 2))
        assert judgement.decision is Decision.NO_PERMISSION
        return judgement.detail

    assert words(*permissions) == (
        "no permission for demo/obama-clone; permitted accounts on demo: obama-official, obama-shop"
    )
    assert words(*permissions[3:]) == (
        "no permission for demo/obama-clone; nobody is permitted on demo; permitted elsewhere: elsewhere/obama-tv"
    )
    assert words() == "no permission for demo/obama-clone; no account is permitted anywhere now"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"suspended": True}, "the permission of demo/obama-official is suspended"),
        ({"valid_until": date(2026, 2, 1)}, "the permission of demo/obama-official ended on 2026-02-01"),
        ({"valid_from": date(2026, 5, 1)}, "the permission of demo/obama-official begins on 2026-05-01"),
        ({"kinds": REBROADCAST}, "demo/obama-official may show rebroadcast; this room is live"),
        ({"kinds": LIVE, "valid_until": date(2026, 5, 1)}, "demo/obama-official may show live until 2026-05-01"),
    ],
)
def test_the_words_say_which_condition_failed(changes: dict[str, Any], words: str) -> None:
    assert judge(make_permission(**changes))[1] == words


def test_the_words_name_the_rooms_that_came_first() -> None:
    detail = judge(make_permission(max_concurrent_rooms=1), earlier=[shown("a", 0, 60)], room="b")[1]
    assert detail == "demo/obama-official may show 1 room at a time; already showing: a"
