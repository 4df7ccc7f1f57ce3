"""The permission matrix."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from support.violations import START, make_permission, make_stream

from monitor.gallery.identity import Permission
from monitor.incidents.incident import Decision
from monitor.incidents.rules import decide
from monitor.streams.stream import BroadcastKind

TODAY = START.date()
DAY = timedelta(days=1)
LIVE = frozenset({BroadcastKind.LIVE})
REBROADCAST = frozenset({BroadcastKind.REBROADCAST})


def judge(
    *permissions: Permission, now: datetime = START, rooms: Sequence[str] = ("room-1",), **stream: Any
) -> tuple[Decision, str]:
    return decide(permissions, stream=make_stream(account="obama-official", **stream), now=now, rooms_now=rooms)


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
    rooms = ("c", "a", "b", "d")
    decisions = {room: judge(permission, rooms=rooms, room=room)[0] for room in rooms}
    assert decisions == {
        "c": Decision.PERMITTED,
        "a": Decision.PERMITTED,
        "b": Decision.TOO_MANY_ROOMS,
        "d": Decision.TOO_MANY_ROOMS,
    }


def test_a_room_that_the_list_does_not_name_counts_as_the_last() -> None:
    assert judge(make_permission(max_concurrent_rooms=1), rooms=("a",), room="b")[0] is Decision.TOO_MANY_ROOMS


def test_validity_is_counted_in_utc_days() -> None:
    until_today = make_permission(valid_until=date(2026, 3, 4))
    shanghai = timezone(timedelta(hours=8))
    assert judge(until_today, now=datetime(2026, 3, 5, 7, 59, tzinfo=shanghai))[0] is Decision.PERMITTED
    assert judge(until_today, now=datetime(2026, 3, 5, 8, 0, tzinfo=shanghai))[0] is Decision.PERMISSION_EXPIRED
    assert judge(until_today, now=datetime(2026, 3, 4, 23, 59, 59, tzinfo=UTC))[0] is Decision.PERMITTED


def test_the_words_name_the_account_and_who_is_permitted_instead() -> None:
    permissions = (
        make_permission("obama-official"),
        make_permission("obama-shop"),
        make_permission("obama-old", valid_until=TODAY - DAY),
        make_permission("obama-tv", platform="elsewhere"),
    )
    stream = make_stream(account="obama-clone")
    assert decide(permissions, stream=stream, now=START, rooms_now=("room-1",)) == (
        Decision.NO_PERMISSION,
        "no permission for demo/obama-clone; permitted accounts on demo: obama-official, obama-shop",
    )
    assert decide(permissions[3:], stream=stream, now=START, rooms_now=("room-1",))[1] == (
        "no permission for demo/obama-clone; nobody is permitted on demo; permitted elsewhere: elsewhere/obama-tv"
    )
    assert decide((), stream=stream, now=START, rooms_now=("room-1",))[1] == (
        "no permission for demo/obama-clone; no account is permitted anywhere now"
    )


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
    detail = judge(make_permission(max_concurrent_rooms=1), rooms=("a", "b"), room="b")[1]
    assert detail == "demo/obama-official may show 1 room at a time; already showing: a"
