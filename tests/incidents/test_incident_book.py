"""The life of incidents, on a real database."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING

import pytest
from support.rooms import BEGAN, Room, Shown
from support.violations import START, make_identity, make_permission, make_sighting, make_stream

from monitor.errors import StorageError
from monitor.gallery.identity import Permission
from monitor.incidents.incident import Decision, Incident, IncidentState
from monitor.sightings.sighting import Sighting
from monitor.streams.stream import BroadcastKind

if TYPE_CHECKING:
    from conftest import Desk

OFFICIAL = make_identity(make_permission("obama-official"))


def failures(desk: Desk) -> float:
    return desk.registry.get_sample_value("monitor_incident_store_failures_total") or 0.0


def open_count(desk: Desk, decision: Decision) -> float | None:
    return desk.registry.get_sample_value("monitor_incidents_open", {"decision": decision})


@asynccontextmanager
async def broken(desk: Desk) -> AsyncIterator[None]:
    """The database refuses every incident while this lasts."""
    connection = sqlite3.connect(desk.database.path, isolation_level=None)
    for verb in ("INSERT", "UPDATE"):
        connection.execute(
            f"CREATE TRIGGER refuse_{verb} BEFORE {verb} ON incidents BEGIN SELECT RAISE(FAIL, 'disk full'); END"
        )
    yield
    for verb in ("INSERT", "UPDATE"):
        connection.execute(f"DROP TRIGGER refuse_{verb}")
    connection.close()


async def test_a_violation_opens_one_incident_which_is_on_disk_and_told(desk: Desk) -> None:
    incident = await desk.see(OFFICIAL)
    assert incident.decision is Decision.NO_PERMISSION
    assert incident.decision_detail.endswith("permitted accounts on demo: obama-official")
    assert await desk.reader.get(incident.id) == incident
    assert await desk.events(incident.id) == ["opened"]
    assert await desk.told(incident.id) == ["opened"]
    assert (incident.first_seen_at, incident.opened_at) == (START, START)
    assert incident.consent == "contract, 2026-01-01, file 12"
    assert open_count(desk, Decision.NO_PERMISSION) == 1


async def test_a_permitted_likeness_is_recorded_and_never_told(desk: Desk) -> None:
    incident = await desk.see(OFFICIAL, account="obama-official")
    desk.wait(120)
    await desk.book.tick()
    closed = await desk.reader.get(incident.id)
    assert closed is not None
    assert (closed.decision, closed.state, closed.sequence) == (Decision.PERMITTED, IncidentState.CLOSED, 0)
    assert await desk.events(incident.id) == ["permitted", "closed"]
    assert await desk.told(incident.id) == []


async def test_the_same_room_extends_its_incident_and_another_room_opens_its_own(desk: Desk) -> None:
    first = await desk.see()
    desk.wait(1)
    again = await desk.see(sighting=make_sighting((0, 1, 2, 3), 0.8))
    other = await desk.see(room="room-2")
    assert again.id == first.id != other.id
    assert (again.similarity, again.seconds_on_screen, again.samples_seen) == (0.8, 3.0, 4)
    assert await desk.told(first.id) == ["opened"]


async def test_the_best_similarity_stays_with_its_own_margin(desk: Desk) -> None:
    await desk.see(sighting=make_sighting(similarity=0.8))
    later = await desk.see(sighting=make_sighting(similarity=0.6))
    assert (later.similarity, round(later.margin, 3)) == (0.8, 0.7)


@pytest.mark.parametrize(
    ("sightings", "expected"),
    [
        ([make_sighting((0, 1, 2)), make_sighting((0, 1, 2, 3))], (4, 3.0)),
        ([make_sighting((0, 1, 2)), make_sighting((10, 11, 12), sighting_id="s2")], (6, 4.0)),
        ([make_sighting((0, 1, 4)), make_sighting((2, 3, 5), sighting_id="s2")], (6, 5.0)),
        (
            [
                make_sighting((0, 1, 2)),
                make_sighting((0, 1, 2), sighting_id="s2"),
                make_sighting((0, 1, 2, 3)),
                make_sighting((0, 1, 2, 3), sighting_id="s2"),
            ],
            (8, 3.0),
        ),
        ([make_sighting((50, 51, 52)), make_sighting((0, 1, 2), sighting_id="s2", epoch=2)], (6, 4.0)),
    ],
    ids=["one grows", "two in a row", "two overlap", "two take turns", "a new connection"],
)
async def test_samples_and_seconds_of_several_sightings_are_counted_once(
    desk: Desk, sightings: list[Sighting], expected: tuple[int, float]
) -> None:
    for sighting in sightings:
        incident = await desk.see(sighting=sighting)
    assert (incident.samples_seen, incident.seconds_on_screen) == expected


async def test_what_the_strongest_sighting_was_worth_stays_with_what_it_needed(desk: Desk) -> None:
    first = replace(make_sighting(), log_likelihood=14.2, log_likelihood_needed=9.7)
    incident = await desk.see(sighting=first)
    assert (incident.log_likelihood, incident.log_likelihood_needed) == (14.2, 9.7)
    assert await desk.reader.get(incident.id) == incident
    weaker = replace(make_sighting(sighting_id="s2"), log_likelihood=12.0, log_likelihood_needed=11.0)
    incident = await desk.see(sighting=weaker)
    assert (incident.log_likelihood, incident.log_likelihood_needed) == (14.2, 9.7)
    stronger = replace(make_sighting(sighting_id="s3"), log_likelihood=15.0, log_likelihood_needed=11.0)
    incident = await desk.see(sighting=stronger)
    assert (incident.log_likelihood, incident.log_likelihood_needed) == (15.0, 11.0)


async def test_losing_a_permission_opens_changing_rules_update_and_gaining_one_resolves(desk: Desk) -> None:
    permitted = make_identity(make_permission("obama-clone"))
    suspended = make_identity(make_permission("obama-clone", suspended=True))
    first = await desk.see(permitted)
    desk.wait(10)
    opened = await desk.see(make_identity())
    desk.wait(10)
    updated = await desk.see(suspended)
    desk.wait(10)
    resolved = await desk.see(permitted)
    assert {first.id, opened.id, updated.id} == {resolved.id}
    assert (resolved.state, resolved.decision) == (IncidentState.OPEN, Decision.PERMITTED)
    assert await desk.events(first.id) == ["permitted", "opened", "updated", "permitted"]
    assert await desk.told(first.id) == ["opened", "updated", "resolved"]
    assert first.violation_since is None
    assert opened.violation_since == updated.violation_since == START + timedelta(seconds=10)
    assert [first.sequence, opened.sequence, updated.sequence, resolved.sequence] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ([], [make_permission("obama-clone")], ["opened", "resolved"]),
        ([make_permission("obama-clone")], [make_permission("obama-clone", suspended=True)], ["opened"]),
        ([make_permission("obama-clone", valid_until=START.date())], None, ["opened"]),
        ([make_permission("obama-clone", valid_from=START.date() + timedelta(days=1))], None, ["opened", "resolved"]),
        ([make_permission("obama-clone")], [], ["opened"]),
    ],
    ids=["added", "suspended", "ends at midnight", "begins at midnight", "withdrawn"],
)
async def test_a_permission_that_changes_while_an_incident_is_open_changes_it_at_the_next_sample(
    desk: Desk, before: list[Permission], after: list[Permission] | None, told: list[str]
) -> None:
    incident = await desk.see(make_identity(*before))
    midnight = datetime.combine(START.date() + timedelta(days=1), time(), UTC)
    desk.clock.now = midnight - timedelta(microseconds=1)
    assert (await desk.see(make_identity(*before))).decision is incident.decision
    desk.clock.now = midnight
    changed = await desk.see(make_identity(*before if after is None else after))
    assert (changed.id, changed.decision.is_violation) == (incident.id, told[-1] == "opened")
    assert await desk.told(incident.id) == told


def lasting(first: int, last: int, sighting_id: str = "s1") -> Sighting:
    """A sighting with a sample each second."""
    return make_sighting(range(first, last + 1), sighting_id=sighting_id)


async def test_a_second_room_of_a_one_room_account_is_too_many_until_the_first_is_gone(desk: Desk) -> None:
    identity = make_identity(make_permission("obama-official", max_concurrent_rooms=1))

    async def see(room: str, sighting: Sighting) -> Incident:
        return await desk.see(identity, sighting, room=room, account="obama-official")

    desk.wait(2)
    assert (await see("a", lasting(0, 2))).decision is Decision.PERMITTED
    second = await see("b", lasting(0, 2))
    assert second.decision is Decision.PERMITTED, "it may have moved"
    desk.wait(10)
    await see("a", lasting(0, 12))
    assert (await see("b", lasting(0, 12))).decision is Decision.TOO_MANY_ROOMS
    assert (await see("a", lasting(0, 13))).decision is Decision.PERMITTED
    desk.wait(119)
    await see("b", lasting(130, 132, "later"))
    desk.wait(1)
    await desk.book.tick()
    assert [incident.key.room for incident in desk.book.open_incidents()] == ["b"]
    assert (await see("b", lasting(130, 133, "later"))).decision is Decision.PERMITTED
    assert await desk.told(second.id) == ["opened", "resolved"]


async def test_an_account_that_moves_to_another_room_and_back_is_never_in_too_many(desk: Desk) -> None:
    identity = make_identity(make_permission("obama-official", max_concurrent_rooms=1))
    for turn, room in enumerate("abab"):
        begin = turn * 50
        desk.clock.now = START + timedelta(seconds=begin + 45)
        for last in (begin + 2, begin + 45):
            seen = await desk.see(identity, lasting(begin, last, f"s{turn}"), room=room, account="obama-official")
            assert seen.decision is Decision.PERMITTED
    assert len(desk.book.open_incidents()) == 2


async def test_permissions_for_different_kinds_each_have_their_own_room(desk: Desk) -> None:
    identity = make_identity(
        *(
            make_permission("obama-official", kinds=frozenset({kind}), max_concurrent_rooms=1)
            for kind in (BroadcastKind.LIVE, BroadcastKind.DIGITAL_HUMAN)
        )
    )
    for room, kind in (("a", BroadcastKind.LIVE), ("b", BroadcastKind.DIGITAL_HUMAN)):
        seen = await desk.see(identity, lasting(0, 60), room=room, account="obama-official", kind=kind)
        assert seen.decision is Decision.PERMITTED


async def test_a_restart_neither_resolves_nor_repeats_too_many_rooms(desk: Desk) -> None:
    identity = make_identity(make_permission("obama-official", max_concurrent_rooms=1))
    await desk.see(identity, lasting(0, 20), room="a", account="obama-official")
    second = await desk.see(identity, lasting(0, 20), room="b", account="obama-official")
    later = desk.restarted()
    await later.book.restore()
    for room in ("b", "a", "b"):
        await later.see(identity, lasting(30, 32, "later"), room=room, account="obama-official")
    assert await later.told(second.id) == ["opened"]


async def test_a_likeness_that_returns_after_its_incident_closed_opens_another_only_with_new_evidence(
    desk: Desk,
) -> None:
    room, identity = Room(), make_identity(identity_id="ann")
    opened: list[str] = []

    async def show(second: int, similarity: float) -> None:
        (update,) = room.show(second, Shown(similarity=similarity))
        if update.sighting is not None:
            incident = await desk.see(identity, update.sighting)
            opened.extend({incident.id} - set(opened))
        desk.wait(2)
        await desk.book.tick()

    for second in (0, 2, 4):
        await show(second, 0.9)
    for second in range(6, 306, 2):
        await show(second, 0.2)
    assert desk.book.open_incidents() == ()
    await show(306, 0.41)
    await show(308, 0.42)
    assert len(opened) == 1
    await show(310, 0.43)
    (again,) = desk.book.open_incidents()
    assert [again.id] == opened[1:]
    assert (again.samples_matched, again.seconds_on_screen, again.similarity) == (3, 4.0, 0.43)
    assert again.first_seen_at == BEGAN + timedelta(seconds=306)


async def test_an_incident_closes_when_the_likeness_is_gone_for_close_after_and_not_before(desk: Desk) -> None:
    incident = await desk.see()
    desk.wait(100)
    await desk.see()
    desk.wait(119.9)
    await desk.book.tick()
    assert desk.book.open_incidents() != ()
    desk.wait(0.1)
    await desk.book.tick()
    assert desk.book.open_incidents() == ()
    closed = await desk.reader.get(incident.id)
    assert closed is not None
    assert (closed.state, closed.closed_at) == (IncidentState.CLOSED, START + timedelta(seconds=220))
    assert await desk.events(incident.id) == ["opened", "resolved"]
    assert await desk.told(incident.id) == ["opened", "resolved"]
    assert open_count(desk, Decision.NO_PERMISSION) == 0
    assert (await desk.see()).id != incident.id


async def test_seeing_it_again_is_written_at_most_every_persist_interval(desk: Desk) -> None:
    incident = await desk.see()

    async def on_disk() -> int:
        stored = await desk.reader.get(incident.id)
        assert stored is not None
        return stored.samples_seen

    desk.wait(4.9)
    await desk.see(sighting=make_sighting((0, 1, 2, 3)))
    assert await on_disk() == 3
    desk.wait(0.1)
    await desk.see(sighting=make_sighting((0, 1, 2, 3, 4)))
    assert await on_disk() == 5
    await desk.see(sighting=make_sighting((0, 1, 2, 3, 4, 5)))
    assert await on_disk() == 5


async def test_a_restart_neither_closes_early_nor_opens_again(desk: Desk) -> None:
    incident = await desk.see()
    desk.wait(3600)
    later = desk.restarted(elapsed_s=5.0)
    await later.book.restore()
    await later.book.tick()
    assert [known.id for known in later.book.open_incidents()] == [incident.id]
    later.wait(119)
    await later.book.tick()
    seen = await later.see(sighting=make_sighting((0, 1, 2), sighting_id="s9"))
    assert seen.id == incident.id
    assert (seen.samples_seen, seen.seconds_on_screen) == (6, 4.0)
    later.wait(120)
    await later.book.tick()
    assert later.book.open_incidents() == ()
    assert await later.told(incident.id) == ["opened", "resolved"]


async def test_a_failing_database_loses_nothing_and_the_next_sample_tries_again(desk: Desk) -> None:
    async with broken(desk):
        with pytest.raises(StorageError, match="disk full"):
            await desk.see()
        assert desk.book.open_incidents() == ()
    incident = await desk.see()
    suspended = make_identity(make_permission("obama-clone", suspended=True))
    async with broken(desk):
        with pytest.raises(StorageError):
            await desk.see(suspended)
        assert desk.book.open_incidents() == (incident,)
        desk.wait(200)
        await desk.book.tick()
        assert desk.book.open_incidents() == (incident,)
    assert failures(desk) == 3
    assert (await desk.see(suspended)).sequence == 2
    desk.wait(120)
    await desk.book.tick()
    assert await desk.told(incident.id) == ["opened", "updated", "resolved"]


async def test_one_incident_that_cannot_be_closed_does_not_keep_the_others_open(desk: Desk) -> None:
    await desk.see(room="stuck")
    await desk.see(room="free")
    connection = sqlite3.connect(desk.database.path, isolation_level=None)
    connection.execute(
        "CREATE TRIGGER stick BEFORE UPDATE ON incidents WHEN old.room = 'stuck' BEGIN SELECT RAISE(FAIL, 'no'); END"
    )
    connection.close()
    desk.wait(120)
    await desk.book.tick()
    assert [incident.key.room for incident in desk.book.open_incidents()] == ["stuck"]


async def test_many_observers_at_once_open_one_incident(desk: Desk) -> None:
    seen = await asyncio.gather(*(desk.see() for _ in range(20)))
    assert len({incident.id for incident in seen}) == 1
    assert len(await desk.reader.page(limit=10)) == 1


async def test_a_cancelled_observer_leaves_book_and_database_agreeing(desk: Desk) -> None:
    for turns in range(12):
        observing = asyncio.create_task(desk.see(room=f"room-{turns}"))
        for _ in range(turns * 3):
            await asyncio.sleep(0)
        observing.cancel()
        await asyncio.gather(observing, return_exceptions=True)
    for turns in range(12):
        await desk.see(room=f"room-{turns}")
    on_disk = await desk.reader.page(limit=50)
    assert sorted(incident.id for incident in on_disk) == [incident.id for incident in desk.book.open_incidents()]
    assert len(on_disk) == 12


async def test_the_log_names_the_incident_and_never_the_address(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG"):
        incident = await desk.see()
    assert f"event=opened incident={incident.id} identity=obama" in caplog.text
    assert make_stream().url not in caplog.text
    assert "very-secret-key" not in caplog.text
