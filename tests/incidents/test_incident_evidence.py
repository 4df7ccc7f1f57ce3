"""The incident book: evidence goes to disk with the incident."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.violations import START, make_identity, make_permission, make_sighting, make_stream

from monitor.incidents.incident import Incident

if TYPE_CHECKING:
    from conftest import Desk

OFFICIAL = make_identity(make_permission("obama-official"))


class Pen:
    """Writes evidence, unless it is told to fail; remembers for which incidents."""

    def __init__(self, desk: Desk) -> None:
        self.fails = False
        self.wrote: list[str] = []
        self._desk = desk

    async def write(self, incident: Incident) -> str | None:
        assert (await self._desk.told(incident.id)).count("opened") == int(incident.id in self.wrote)
        self.wrote.append(incident.id)
        return None if self.fails else "b" * 64


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
