"""Which outbox rows are due, and in which order."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection
from support.violations import START, make_incident

from monitor.incidents.incident import Incident, IncidentState, TimelineEntry, Transition
from monitor.storage.database import Database
from monitor.storage.incidents import SqlIncidentStore
from monitor.storage.outbox import SqlOutbox

SECOND = timedelta(seconds=1)


async def tell(store: SqlIncidentStore, incident: Incident, transition: Transition, after_s: int = 0) -> None:
    at = START + after_s * SECOND
    line = TimelineEntry(incident_id=incident.id, at=at, event=transition, reason="r", detail="d")
    await store.save(incident, timeline=[line], transition=transition)


async def due(outbox: SqlOutbox, after_s: float = 60, receiver: str = "hook") -> list[tuple[str, str]]:
    entries = await outbox.due(receiver, START + after_s * SECOND, 10)
    return [(entry.alert.incident_id, entry.alert.transition) for entry in entries]


async def test_only_the_oldest_waiting_row_of_an_incident_is_due(store: SqlIncidentStore, outbox: SqlOutbox) -> None:
    incident = make_incident("id-1")
    await tell(store, incident, Transition.OPENED)
    await tell(store, replace(incident, sequence=2), Transition.UPDATED, 1)
    await tell(store, make_incident("id-2", room="b"), Transition.OPENED, 2)
    assert await due(outbox) == [("id-1", "opened"), ("id-2", "opened")]
    first = (await outbox.due("hook", START + 60 * SECOND, 10))[0]
    await outbox.failed(first.id, next_attempt_at=START + 100 * SECOND, error="down")
    assert await due(outbox) == [("id-2", "opened")], "a younger row never overtakes"
    assert await due(outbox, 100) == [("id-1", "opened"), ("id-2", "opened")]
    await outbox.delivered(first.id, START + 101 * SECOND)
    assert await due(outbox, 101) == [("id-1", "updated"), ("id-2", "opened")]
    assert await due(outbox, 101, "am") == [("id-1", "opened"), ("id-2", "opened")], "receivers do not wait for another"


async def test_a_dead_row_makes_way_and_keeps_its_reason(store: SqlIncidentStore, outbox: SqlOutbox) -> None:
    incident = make_incident("id-1")
    await tell(store, incident, Transition.OPENED)
    await tell(store, replace(incident, sequence=2), Transition.RESOLVED, 1)
    first = (await outbox.due("hook", START, 10))[0]
    await outbox.dead(first.id, START, "HTTP 400")
    assert await due(outbox) == [("id-1", "resolved")]
    assert await outbox.pending("hook") == 1
    assert await outbox.pending("am") == 2


@pytest.mark.parametrize("alert", ["", "null", "[]", "{}", '{"identity": {"id": "a"}}', "not JSON"])
async def test_rows_that_cannot_be_read_are_dead_and_the_ones_behind_them_are_due(
    database: Database, store: SqlIncidentStore, outbox: SqlOutbox, alert: str
) -> None:
    async def spoil(connection: AsyncConnection) -> None:
        await connection.execute(text("UPDATE outbox SET alert = :alert"), {"alert": alert})

    for number in range(12):
        await tell(store, make_incident(f"bad-{number}", room=str(number)), Transition.OPENED)
    await database.write(spoil)
    await tell(store, make_incident("bad-0", sequence=2, room="0"), Transition.RESOLVED, 1)
    assert await due(outbox) == [("bad-0", "resolved")]
    assert await outbox.pending("hook") == 1


async def test_a_delivered_row_that_cannot_be_read_is_not_in_force(
    database: Database, store: SqlIncidentStore, outbox: SqlOutbox
) -> None:
    async def spoil(connection: AsyncConnection) -> None:
        await connection.execute(text("UPDATE outbox SET alert = '{}' WHERE incident_id = 'id-1'"))

    for name in ("id-1", "id-2"):
        await tell(store, make_incident(name, room=name), Transition.OPENED)
    for entry in await outbox.due("am", START, 10):
        await outbox.delivered(entry.id, START)
    await database.write(spoil)
    assert [entry.alert.incident_id for entry in await outbox.in_force("am")] == ["id-2"]


async def test_attempts_are_counted_and_the_id_stays(store: SqlIncidentStore, outbox: SqlOutbox) -> None:
    await tell(store, make_incident(), Transition.OPENED)
    (first,) = await outbox.due("hook", START, 10)
    for attempt in range(3):
        await outbox.failed(first.id, next_attempt_at=START, error=f"try {attempt}")
    (again,) = await outbox.due("hook", START, 10)
    assert (again.id, again.attempts) == (first.id, 3)


async def test_a_clock_that_was_set_back_does_not_hold_alerts_for_hours(
    store: SqlIncidentStore, outbox: SqlOutbox
) -> None:
    await tell(store, make_incident(), Transition.OPENED)
    (entry,) = await outbox.due("hook", START, 10)
    await outbox.failed(entry.id, next_attempt_at=START + timedelta(hours=1), error="Retry-After")
    assert await due(outbox, 0) == []
    assert len(await due(outbox, -2 * 3600)) == 1


async def test_a_violation_that_ended_while_the_receiver_was_not_configured_is_not_in_force(
    database: Database, store: SqlIncidentStore, outbox: SqlOutbox
) -> None:
    await tell(store, make_incident(), Transition.OPENED)
    for entry in await outbox.due("am", START, 10):
        await outbox.delivered(entry.id, START)
    assert len(await outbox.in_force("am")) == 1
    without = SqlIncidentStore(database, receivers=["hook"], web_base_url="http://x")
    closed = make_incident(sequence=2, state=IncidentState.CLOSED, closed_at=START)
    await tell(without, closed, Transition.RESOLVED)
    assert await outbox.in_force("am") == []


async def test_in_force_are_the_last_delivered_rows_of_violations_that_are_open(
    store: SqlIncidentStore, outbox: SqlOutbox
) -> None:
    async def deliver_all() -> None:
        while entries := await outbox.due("am", START + 60 * SECOND, 10):
            for entry in entries:
                await outbox.delivered(entry.id, START)

    async def in_force() -> list[tuple[str, str]]:
        return [(entry.alert.incident_id, entry.alert.transition) for entry in await outbox.in_force("am")]

    updated, closed, permitted = (make_incident(f"id-{n}", room=str(n)) for n in (1, 2, 3))
    for incident in (updated, closed, permitted):
        await tell(store, incident, Transition.OPENED)
    assert await in_force() == [], "nothing was delivered yet"
    await deliver_all()
    assert [name for name, _ in await in_force()] == ["id-1", "id-2", "id-3"]
    await tell(store, replace(updated, sequence=2), Transition.UPDATED)
    assert [name for name, _ in await in_force()] == ["id-2", "id-3"], "its update comes by itself"
    await tell(store, replace(closed, sequence=2, state=IncidentState.CLOSED, closed_at=START), Transition.RESOLVED)
    await tell(store, replace(permitted, sequence=2), Transition.RESOLVED)
    assert await in_force() == []
    await deliver_all()
    assert await in_force() == [("id-1", "updated")]
    await tell(store, replace(updated, sequence=3), Transition.UPDATED)
    (refused,) = await outbox.due("am", START + 60 * SECOND, 10)
    await outbox.dead(refused.id, START, "HTTP 400")
    assert await in_force() == [("id-1", "updated")], "what was refused replaces nothing"
