"""How a likeness is shown, over an incident's life."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.violations import make_identity, make_permission, make_sighting

from monitor.incidents.incident import Decision
from monitor.sightings.presence import Presence
from monitor.sightings.sighting import Sighting

if TYPE_CHECKING:
    from conftest import Desk

OFFICIAL = make_identity(make_permission("obama-official"))


def shown(presence: Presence, sighting_id: str = "s1") -> Sighting:
    return make_sighting(presence=presence, sighting_id=sighting_id)


async def test_what_stood_behind_and_now_presents_is_escalated_once(desk: Desk) -> None:
    await desk.see(OFFICIAL, shown(Presence.BACKGROUND))
    await desk.see(OFFICIAL, shown(Presence.PRESENTER))
    incident = await desk.see(OFFICIAL, shown(Presence.PRESENTER))
    assert (incident.presence, incident.sequence) == (Presence.PRESENTER, 2)
    assert await desk.reader.get(incident.id) == incident
    opened, escalated = await desk.reader.timeline(incident.id)
    assert (opened.event, escalated.event, escalated.reason) == ("opened", "escalated", "presenter")
    assert escalated.detail.startswith("shown as presenter, until now as background; no permission for")
    assert await desk.told(incident.id) == ["opened", "escalated"]


async def test_an_incident_keeps_the_strongest_presence_of_its_sightings(desk: Desk) -> None:
    order = [Presence.BACKGROUND, Presence.STATIC_IMAGE, Presence.INSET, Presence.PRESENTER]
    assert [(await desk.see(OFFICIAL, shown(one, f"s{one}"))).presence for one in order] == order
    incident = await desk.see(OFFICIAL, shown(Presence.BACKGROUND, "poster"))
    assert incident.presence is Presence.PRESENTER
    assert await desk.told(incident.id) == ["opened", "escalated", "escalated", "escalated"]


async def test_a_permitted_likeness_that_comes_forward_is_noted_and_nobody_is_told(desk: Desk) -> None:
    await desk.see(OFFICIAL, shown(Presence.INSET), account="obama-official")
    incident = await desk.see(OFFICIAL, shown(Presence.PRESENTER), account="obama-official")
    assert incident.presence is Presence.PRESENTER
    assert await desk.events(incident.id) == ["permitted", "escalated"]
    assert await desk.told(incident.id) == []


async def test_a_permitted_inset_that_loses_its_permission_and_presents_is_opened_as_presenting(desk: Desk) -> None:
    await desk.see(OFFICIAL, shown(Presence.INSET), account="obama-official")
    suspended = make_identity(make_permission("obama-official", suspended=True))
    incident = await desk.see(suspended, shown(Presence.PRESENTER), account="obama-official")
    assert (incident.presence, incident.decision) == (Presence.PRESENTER, Decision.ACCOUNT_SUSPENDED)
    assert await desk.told(incident.id) == ["opened"]


async def test_another_rule_and_another_presence_at_once_are_one_alert_and_two_lines(desk: Desk) -> None:
    await desk.see(OFFICIAL, shown(Presence.STATIC_IMAGE))
    suspended = make_identity(make_permission("obama-clone", suspended=True))
    incident = await desk.see(suspended, shown(Presence.PRESENTER))
    assert await desk.events(incident.id) == ["opened", "escalated", "updated"]
    assert await desk.told(incident.id) == ["opened", "escalated"]


async def test_the_presence_is_known_after_a_restart_and_not_told_again(desk: Desk) -> None:
    await desk.see(OFFICIAL, shown(Presence.INSET))
    after = desk.restarted()
    await after.book.restore()
    incident = await after.see(OFFICIAL, shown(Presence.INSET))
    assert incident.presence is Presence.INSET
    assert await after.told(incident.id) == ["opened"]


@pytest.mark.parametrize("presence", Presence)
async def test_every_presence_can_be_the_first(desk: Desk, presence: Presence) -> None:
    assert (await desk.see(OFFICIAL, shown(presence))).presence is presence
