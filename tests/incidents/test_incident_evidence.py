"""The incident book: evidence goes to disk with the incident."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.violations import START, make_identity, make_permission, make_sighting, make_stream

from monitor.incidents.incident import EvidenceRecord, EvidenceWish, Incident
from monitor.sightings.presence import Presence
from monitor.storage.outbox import SqlOutbox

if TYPE_CHECKING:
    from conftest import Desk

OFFICIAL = make_identity(make_permission("obama-official"))


def record(incident: Incident, letter: str, presence: Presence | None = None) -> EvidenceRecord:
    shown = presence or incident.presence
    return EvidenceRecord(folder=incident.next_evidence_folder(shown), manifest_sha256=letter * 64, presence=shown)


class Pen:
    """Writes evidence, unless it is told to fail; remembers for which incidents."""

    def __init__(self, desk: Desk) -> None:
        self.fails = False
        self.wrote: list[str] = []
        self._desk = desk

    async def write(self, incident: Incident) -> EvidenceRecord | None:
        """For an incident's opening."""
        assert (await self._desk.told(incident.id)).count("opened") == int(incident.id in self.wrote)
        self.wrote.append(incident.id)
        return None if self.fails else record(incident, "b")


async def test_evidence_is_on_disk_in_the_same_moment_as_the_incident_and_nobody_is_told_before(desk: Desk) -> None:
    pen = Pen(desk)
    incident = await desk.see(write_evidence=pen.write)
    assert incident.manifest_sha256 == "b" * 64
    assert await desk.reader.get(incident.id) == incident
    assert await desk.events(incident.id) == ["opened", "evidence_recorded"]
    assert [entry.at for entry in await desk.reader.timeline(incident.id)] == [START, START]
    assert await desk.told(incident.id) == ["opened"]


async def test_evidence_is_written_once_and_survives_the_next_write(desk: Desk) -> None:
    pen = Pen(desk)
    incident = await desk.see(write_evidence=pen.write)
    desk.wait(5)
    assert (await desk.see(write_evidence=pen.write)).manifest_sha256 == "b" * 64
    stored = await desk.reader.get(incident.id)
    assert stored is not None
    assert stored.manifest_sha256 == "b" * 64
    assert pen.wrote == [incident.id]


async def test_an_incident_opens_without_evidence_that_cannot_be_written_and_the_next_sample_tries_again(
    desk: Desk,
) -> None:
    pen = Pen(desk)
    pen.fails = True
    incident = await desk.see(write_evidence=pen.write)
    assert (incident.manifest_sha256, await desk.told(incident.id)) == (None, ["opened"])
    pen.fails = False
    assert (await desk.see(write_evidence=pen.write)).manifest_sha256 == "b" * 64
    stored = await desk.reader.get(incident.id)
    assert stored is not None
    assert stored.manifest_sha256 == "b" * 64
    assert await desk.events(incident.id) == ["opened", "evidence_recorded"]
    assert await desk.told(incident.id) == ["opened"]


async def test_evidence_is_wanted_for_a_violation_that_has_none(desk: Desk) -> None:
    pen = Pen(desk)
    permitted = make_identity(make_permission("obama-clone"))
    stream = make_stream()
    assert not desk.book.wants_evidence(stream, permitted, make_sighting())
    assert (await desk.see(permitted, write_evidence=pen.write)).manifest_sha256 is None
    assert pen.wrote == []
    assert desk.book.wants_evidence(stream, make_identity(), make_sighting())
    violation = await desk.see(write_evidence=pen.write)
    assert violation.manifest_sha256 == "b" * 64
    assert await desk.events(violation.id) == ["permitted", "opened", "evidence_recorded"]
    assert not desk.book.wants_evidence(stream, make_identity(), make_sighting())


async def test_an_escalation_is_told_with_evidence_of_its_own_and_keeps_the_earlier(desk: Desk) -> None:
    pen = Pen(desk)
    await desk.see(sighting=make_sighting(presence=Presence.BACKGROUND), write_evidence=pen.write)
    assert desk.book.wants_evidence(make_stream(), make_identity(), make_sighting()) is EvidenceWish.ANEW
    told_before: list[str] = []

    async def write_again(before: Incident) -> EvidenceRecord:
        told_before.extend(await desk.told(before.id))
        return record(before, "c")

    incident = await desk.see(sighting=make_sighting(presence=Presence.PRESENTER), write_evidence=write_again)
    assert told_before == ["opened"], "nobody hears of the escalation before its evidence is written"
    assert [(one.folder, one.manifest_sha256[0], one.presence) for one in incident.evidence] == [
        (incident.id, "b", Presence.BACKGROUND),
        (f"{incident.id}-presenter", "c", Presence.PRESENTER),
    ]
    assert await desk.reader.get(incident.id) == incident
    assert await desk.events(incident.id) == ["opened", "evidence_recorded", "escalated", "evidence_recorded"]
    assert await desk.told(incident.id) == ["opened", "escalated"]
    assert desk.book.wants_evidence(make_stream(), make_identity(), make_sighting()) is None
    outbox, base = SqlOutbox(desk.database), "http://127.0.0.1:8080"
    for folder in (incident.id, f"{incident.id}-presenter"):
        (row,) = await outbox.due("hook", START, 10)
        assert row.alert.links.frame == f"{base}/evidence/{folder}/frame.jpg"
        assert row.alert.links.incident == f"{base}/incidents/{incident.id}"
        await outbox.delivered(row.id, START)


async def test_an_escalation_without_evidence_is_told_and_drawn_with_the_next_sample_that_shows_it_so(
    desk: Desk,
) -> None:
    pen = Pen(desk)
    poster, owner = make_sighting(presence=Presence.BACKGROUND), make_sighting(presence=Presence.PRESENTER)
    await desk.see(sighting=poster, write_evidence=pen.write)
    escalated = await desk.see(sighting=owner)
    assert (escalated.presence, escalated.manifest_sha256) == (Presence.PRESENTER, "b" * 64)
    assert await desk.told(escalated.id) == ["opened", "escalated"]
    assert desk.book.wants_evidence(make_stream(), make_identity(), poster) is None, "it shows the poster again"
    after = desk.restarted()
    await after.book.restore()
    assert after.book.wants_evidence(make_stream(), make_identity(), owner) is EvidenceWish.ANEW

    async def write(incident: Incident) -> EvidenceRecord:
        return record(incident, "c")

    incident = await after.see(sighting=owner, write_evidence=write)
    assert [one.presence for one in incident.evidence] == [Presence.BACKGROUND, Presence.PRESENTER]
    assert await after.reader.get(incident.id) == incident
    assert await after.told(incident.id) == ["opened", "escalated"]


async def test_evidence_that_turns_out_to_be_older_counts_as_what_it_shows(desk: Desk) -> None:
    """An attempt that was given up on for its slowness may have ended meanwhile, with the pictures of then."""
    owner = make_sighting(presence=Presence.PRESENTER)

    async def found(incident: Incident) -> EvidenceRecord:
        return record(incident, "b", Presence.BACKGROUND)

    incident = await desk.see(sighting=owner, write_evidence=found)
    assert [one.presence for one in incident.evidence] == [Presence.BACKGROUND]
    assert desk.book.wants_evidence(make_stream(), make_identity(), owner) is EvidenceWish.ANEW


async def test_a_permitted_likeness_that_comes_forward_wants_no_evidence(desk: Desk) -> None:
    permitted = make_identity(make_permission("obama-clone"))
    await desk.see(permitted, make_sighting(presence=Presence.BACKGROUND))
    assert desk.book.wants_evidence(make_stream(), permitted, make_sighting()) is None
