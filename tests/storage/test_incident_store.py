"""Incidents, their timeline and their outbox rows in the database."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection
from support.violations import START, make_incident

from monitor.alerts.alert import Alert, AlertLinks
from monitor.errors import StorageError
from monitor.incidents.incident import Decision, EvidenceRecord, Incident, IncidentState, TimelineEntry, Transition
from monitor.sightings.presence import Presence
from monitor.storage.database import Database
from monitor.storage.incidents import SqlIncidentStore
from monitor.storage.outbox import SqlOutbox
from monitor.storage.reader import SqlIncidentReader


def entry(incident: Incident, event: str = "opened") -> TimelineEntry:
    return TimelineEntry(incident_id=incident.id, at=START, event=event, reason="no_permission", detail="in words")


async def open_one(store: SqlIncidentStore, incident: Incident) -> None:
    await store.save(incident, timeline=[entry(incident)], transition=Transition.OPENED)


async def test_an_incident_comes_back_exactly_as_it_was_saved(
    store: SqlIncidentStore, reader: SqlIncidentReader
) -> None:
    first = EvidenceRecord(folder="a", manifest_sha256="a" * 64, presence=Presence.BACKGROUND)
    again = EvidenceRecord(folder="a-inset", manifest_sha256="b" * 64, presence=Presence.INSET)
    incident = make_incident(opened_at=START + timedelta(microseconds=1), evidence=(first, again))
    await store.save(incident)
    assert await reader.get(incident.id) == incident
    closed = replace(incident, state=IncidentState.CLOSED, closed_at=START, violation_since=None)
    await store.save(closed)
    assert await reader.get(incident.id) == closed
    assert await reader.get("nobody") is None


async def test_a_transition_writes_one_row_for_each_receiver_in_the_same_transaction(
    store: SqlIncidentStore, reader: SqlIncidentReader, outbox: SqlOutbox
) -> None:
    incident = make_incident()
    await open_one(store, incident)
    rows = await reader.deliveries(incident.id)
    assert [(row.receiver, row.transition, row.sequence) for row in rows] == [
        ("am", Transition.OPENED, 1),
        ("hook", Transition.OPENED, 1),
    ]
    assert len({row.id for row in rows}) == 2
    assert all(row.id.startswith("msg_") and row.delivered_at is None for row in rows)
    assert await reader.timeline(incident.id) == [entry(incident)]
    alert = (await outbox.due("hook", START, 10))[0].alert
    assert alert.links.incident == f"https://likeness.example.org/incidents/{incident.id}"
    assert alert.title == "Spring sale, 春"


async def test_an_alert_is_about_the_first_line_of_the_timeline(store: SqlIncidentStore, outbox: SqlOutbox) -> None:
    incident = make_incident()
    opened, recorded = entry(incident), replace(entry(incident, "evidence_recorded"), reason="evidence_recorded")
    await store.save(incident, timeline=[opened, recorded], transition=Transition.OPENED)
    assert (await outbox.due("hook", START, 10))[0].alert.reason == "no_permission"


async def test_words_of_a_newer_version_are_shown_where_they_can_be_and_named_where_not(
    store: SqlIncidentStore, reader: SqlIncidentReader, database: Database
) -> None:
    incident = make_incident()
    await open_one(store, incident)

    async def age(connection: AsyncConnection) -> None:
        await connection.execute(text("UPDATE outbox SET transition = 'escalated'"))
        await connection.execute(text("UPDATE incidents SET decision = 'a_new_one'"))

    await database.write(age)
    assert {row.transition for row in await reader.deliveries(incident.id)} == {"escalated"}
    with pytest.raises(StorageError, match=f"{incident.id} cannot be read .*a_new_one.*install the version"):
        await store.load_open()


async def test_when_the_outbox_row_cannot_be_written_the_incident_is_not_either(
    database: Database, reader: SqlIncidentReader
) -> None:
    incident = make_incident()
    broken = SqlIncidentStore(database, receivers=["twice", "twice"], web_base_url="http://x")
    with pytest.raises(StorageError, match="UNIQUE"):
        await open_one(broken, incident)
    assert await reader.get(incident.id) is None
    assert await reader.timeline(incident.id) == []


async def test_the_database_itself_refuses_a_second_open_incident_of_a_key(
    store: SqlIncidentStore, reader: SqlIncidentReader
) -> None:
    first = make_incident("id-1")
    await store.save(first)
    with pytest.raises(StorageError, match="UNIQUE"):
        await store.save(make_incident("id-2"))
    await store.save(replace(first, state=IncidentState.CLOSED, closed_at=START))
    await store.save(make_incident("id-2"))
    await store.save(make_incident("id-3", room="elsewhere"))
    assert [incident.id for incident in await reader.page(limit=10)] == ["id-3", "id-2", "id-1"]


async def test_the_dispatcher_is_woken_after_the_rows_are_on_disk_and_only_then(database: Database) -> None:
    woken: list[int] = []
    store = SqlIncidentStore(database, receivers=["hook"], web_base_url="http://x", wake=lambda: woken.append(1))
    await store.save(make_incident())
    assert woken == []
    await open_one(store, make_incident())
    assert woken == [1]
    with pytest.raises(StorageError):
        await open_one(store, make_incident())
    assert woken == [1]


async def test_an_alert_names_the_other_rooms_that_show_the_person_now(
    store: SqlIncidentStore, outbox: SqlOutbox
) -> None:
    await store.save(make_incident("id-1", room="a"))
    await store.save(make_incident("id-2", room="gone", state=IncidentState.CLOSED, closed_at=START))
    await open_one(store, make_incident("id-3", room="b"))
    assert (await outbox.due("hook", START, 10))[0].alert.other_rooms == ("demo/obama-clone/a",)


async def test_only_open_incidents_are_loaded_in_the_order_of_their_opening(store: SqlIncidentStore) -> None:
    for number in (3, 1, 2):
        await store.save(make_incident(f"id-{number}", room=str(number)))
    await store.save(make_incident("id-0", room="0", state=IncidentState.CLOSED, closed_at=START))
    assert [incident.id for incident in await store.load_open()] == ["id-1", "id-2", "id-3"]


async def test_pages_are_newest_first_and_follow_each_other_by_id(
    store: SqlIncidentStore, reader: SqlIncidentReader
) -> None:
    for number in range(5):
        await store.save(make_incident(f"id-{number}", room=str(number)))
    first = await reader.page(limit=2)
    second = await reader.page(limit=2, before=first[-1].id)
    third = await reader.page(limit=2, before=second[-1].id)
    assert [incident.id for incident in (*first, *second, *third)] == ["id-4", "id-3", "id-2", "id-1", "id-0"]
    assert await reader.page(limit=2, before=third[-1].id) == []


async def test_each_filter_filters(store: SqlIncidentStore, reader: SqlIncidentReader) -> None:
    base = make_incident()
    kept = [
        replace(base, id="id-0", key=replace(base.key, room="r0")),
        replace(base, id="id-1", key=replace(base.key, room="r1", identity_id="biden")),
        replace(base, id="id-2", key=replace(base.key, room="r2", platform="other")),
        replace(base, id="id-3", key=replace(base.key, room="r3", account="else")),
        replace(base, id="id-4", key=replace(base.key, room="r4"), decision=Decision.PERMITTED),
        replace(base, id="id-5", key=replace(base.key, room="r5"), state=IncidentState.CLOSED, closed_at=START),
    ]
    for incident in kept:
        await store.save(incident)

    async def ids(**filters: object) -> set[int]:
        return {int(incident.id[-1]) for incident in await reader.page(limit=50, **filters)}  # type: ignore[arg-type]

    assert await ids() == {0, 1, 2, 3, 4, 5}
    assert await ids(identity_id="biden") == {1}
    assert await ids(platform="other") == {2}
    assert await ids(account="else") == {3}
    assert await ids(room="r0") == {0}
    assert await ids(decisions=[Decision.PERMITTED]) == {4}
    assert await ids(decisions=[Decision.PERMITTED, Decision.NO_PERMISSION], room="r4") == {4}
    assert await ids(decisions=[]) == set()
    assert await ids(state=IncidentState.CLOSED) == {5}
    assert await ids(state=IncidentState.OPEN, identity_id="obama", platform="demo") == {0, 3, 4}


async def test_an_alert_is_the_same_after_its_way_through_json() -> None:
    incident = make_incident()
    alert = Alert.about(
        incident,
        Transition.UPDATED,
        at=START,
        reason="no_permission",
        detail="words",
        other_rooms=["demo/x/y"],
        links=AlertLinks.to(incident, web_base_url="http://x", runbook_url="http://r"),
    )
    assert Alert.from_dict(alert.to_dict()) == alert
