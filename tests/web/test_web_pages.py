"""The pages say what the person on call must know, and hostile text stays text."""

from __future__ import annotations

import hashlib
import html
import json
from dataclasses import replace
from datetime import timedelta

import pytest
from support.site import NOW, SECRET_URL, make_delivery, make_escalated, make_incident

from monitor.incidents.incident import Decision, IncidentState, TimelineEntry
from monitor.sightings.presence import Presence
from monitor.web.readiness import Watch
from monitor.web.wording import (
    DECISION_SENTENCE,
    DECISION_TITLE,
    PRESENCE_SENTENCE,
    PRESENCE_TITLE,
    ago_text,
    duration_text,
)

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{7*7}}"


def plain(text: str) -> str:
    """The page's text with entities resolved and spaces joined."""
    return " ".join(html.unescape(text).split())


async def test_an_incident_is_told_in_full(browser, site, shelf):
    incident = make_incident(manifest_sha256="ab" * 32)
    shelf.incidents = [incident]
    _, page = await browser.get(site, "/")
    text = plain(page)
    for fact in (
        "Barack Obama",
        "No permission",
        "No permission lets this account show this person.",
        "obama has permissions for demo/obama-official, none for douyin/shop-88",
        "0.71",
        "threshold 0.36; 0.52 ahead of the next enrolled person",
        "5 of 6 pictures matched over 8.4 s",
        "shop-88",
        "douyin",
        "room-1",
        "Spring sale",
        "2026-03-04 05:05:05 UTC",
        ">open<",
        f'src="/evidence/{incident.id}/crop.jpg"',
        f'src="/evidence/{incident.id}/reference.jpg"',
    ):
        assert fact in text, fact


async def test_the_list_loads_itself_again_without_script(browser, site):
    _, page = await browser.get(site, "/")
    assert '<meta http-equiv="refresh" content="5">' in page
    assert "<script" not in page
    assert "style=" not in page


async def test_an_older_page_does_not_load_itself_again(browser, site, shelf):
    shelf.incidents = [make_incident(number) for number in range(1, 28)]
    _, page = await browser.get(site, "/")
    assert f"before={shelf.incidents[24].id}" in page
    _, older = await browser.get(site, f"/?show=violations&before={shelf.incidents[24].id}")
    assert older.count("<article") == 2
    assert "http-equiv" not in older
    assert "Older" not in older


async def test_the_list_shows_violations_first_and_permitted_on_request(browser, site, shelf):
    shelf.incidents = [make_incident(1), make_incident(2, decision=Decision.PERMITTED)]
    for show, rooms in {"": [1], "?show=permitted": [2], "?show=all": [1, 2]}.items():
        _, page = await browser.get(site, f"/{show}")
        assert [number for number in (1, 2) if f"room-{number}" in page] == rooms


@pytest.mark.parametrize(
    ("show", "words"),
    [("violations", "No violation so far"), ("permitted", "nobody is alerted"), ("all", "No protected person")],
)
async def test_an_empty_list_explains_itself(browser, site, show, words):
    _, page = await browser.get(site, f"/?show={show}")
    assert words in page


async def test_a_monitor_that_watches_nothing_says_so_on_the_page(browser, site):
    watch = Watch(streams=0, identities=0, receivers=1)
    _, page = await browser.get(replace(site, watch=lambda: watch), "/")
    assert "This monitor watches nothing" in page
    assert "no stream is configured" in page
    assert "no identity is enrolled" in page
    watch = Watch(streams=1, identities=1, receivers=0)
    _, page = await browser.get(replace(site, watch=lambda: watch), "/")
    assert "Nobody is told" in page


@pytest.mark.parametrize("path", ["/", "/incidents/{id}"])
async def test_hostile_text_stays_text(browser, site, shelf, path):
    incident = make_incident(
        manifest_sha256="ab" * 32,
        title=HOSTILE,
        identity_name=HOSTILE,
        decision_detail=HOSTILE,
        products=(HOSTILE,),
    )
    key = replace(incident.key, account=HOSTILE, room=HOSTILE, platform=HOSTILE)
    shelf.incidents = [replace(incident, key=key, consent=HOSTILE, stream_id=HOSTILE)]
    entry = TimelineEntry(incident_id=incident.id, at=NOW, event=HOSTILE, reason=HOSTILE, detail=HOSTILE)
    shelf.entries = {incident.id: [entry]}
    folder = site.evidence_folder / incident.id
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps({"samples": [{"utc": HOSTILE, "runner_up": HOSTILE}]}))
    response, page = await browser.get(site, path.format(id=incident.id))
    assert response.status == 200
    assert "<script" not in page
    assert "<img src=x" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "{{7*7}}" in page


async def test_text_that_turns_the_writing_direction_cannot_turn_its_surroundings(browser, site, shelf):
    shelf.incidents = [make_incident(title="\u202egnp.exe")]
    _, page = await browser.get(site, "/")
    assert "<bdi>\u202egnp.exe</bdi>" in page


async def test_the_page_of_an_incident_shows_pictures_samples_timeline_and_the_manifest(browser, site, shelf):
    sample = {"utc": "2026-03-04T05:05:05.000Z", "stream_time": 12.5, "similarity": 0.7131, "margin": 0.52}
    manifest = json.dumps({"samples": [sample | {"box_px": [10, 20, 110, 161.4], "runner_up": "biden"}]}).encode()
    digest = hashlib.sha256(manifest).hexdigest()
    incident = make_incident(manifest_sha256=digest)
    shelf.incidents = [incident]
    entry = TimelineEntry(incident_id=incident.id, at=NOW, event="evidence_recorded", reason="x", detail="y")
    shelf.entries = {incident.id: [entry]}
    folder = site.evidence_folder / incident.id
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_bytes(manifest)
    _, page = await browser.get(site, f"/incidents/{incident.id}")
    text = plain(page)
    for fact in (digest, "0.713", "12.50", "biden", "<td>141</td>", "evidence recorded", "contract, 2026-01-01"):
        assert fact in text, fact
    for name in ("frame.jpg", "crop.jpg", "reference.jpg", "manifest.json"):
        assert f'="/evidence/{incident.id}/{name}"' in page
    assert "The manifest is the one that was recorded." in page


async def test_the_page_of_an_escalated_incident_shows_the_newest_pictures_and_lists_the_earlier(browser, site, shelf):
    shelf.incidents = [make_escalated()]
    incident = shelf.incidents[0]
    folder = site.evidence_folder / incident.evidence_folder
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text("{}")
    for path in ("/", f"/incidents/{incident.id}"):
        _, page = await browser.get(site, path)
        assert f'src="/evidence/{incident.id}-presenter/crop.jpg"' in page
        assert f'src="/evidence/{incident.id}/' not in page
    text = plain(page)
    assert "The manifest was altered since it was recorded" in text, "the newest one is checked"
    assert "141 px high; evidence 14.2, needed 9.7 (natural logarithm of odds)" in text
    earlier = text.split("Earlier evidence")[1]
    assert "Background:" in earlier
    assert f'href="/evidence/{incident.id}/frame.jpg"' in earlier
    assert "ab" * 32 in earlier


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "on its way"),
        ({"delivered_at": NOW}, "delivered <time"),
        ({"delivered_at": NOW, "attempts": 2}, "after 2 failed attempts"),
        ({"attempts": 1, "last_error": f"500 from {SECRET_URL}"}, "not delivered yet"),
        ({"attempts": 9, "dead_at": NOW, "last_error": f"410 from {SECRET_URL}"}, "given up"),
    ],
)
async def test_the_page_says_how_each_alert_fared_without_the_receivers_address(browser, site, shelf, changes, words):
    shelf.incidents = [make_incident()]
    shelf.rows = {shelf.incidents[0].id: [make_delivery(**changes)]}
    _, page = await browser.get(site, f"/incidents/{shelf.incidents[0].id}")
    assert "on-call" in page
    assert words in plain(page)
    assert "very-secret-key" not in page


async def test_a_violation_that_nobody_was_alerted_of_says_so(browser, site, shelf):
    shelf.incidents = [make_incident(1), make_incident(2, decision=Decision.PERMITTED)]
    pages = [(await browser.get(site, f"/incidents/{incident.id}"))[1] for incident in shelf.incidents]
    assert "Nobody was alerted" in pages[0]
    assert "A permitted likeness alerts nobody" in pages[1]


async def test_with_nobody_else_enrolled_no_margin_is_claimed(browser, site, shelf):
    shelf.incidents = [make_incident(margin=0.713)]
    _, page = await browser.get(site, "/")
    assert "no other enrolled person comes near" in page


async def test_an_altered_manifest_is_called_altered(browser, site, shelf):
    incident = make_incident(manifest_sha256="ab" * 32)
    shelf.incidents = [incident]
    folder = site.evidence_folder / incident.id
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_bytes(b"[1, 2")
    response, page = await browser.get(site, f"/incidents/{incident.id}")
    assert response.status == 200
    assert "was altered since it was recorded" in page


async def test_a_manifest_that_is_gone_is_missed(browser, site, shelf):
    shelf.incidents = [make_incident(manifest_sha256="ab" * 32)]
    _, page = await browser.get(site, f"/incidents/{shelf.incidents[0].id}")
    assert "its file cannot be read any more" in page


async def test_an_incident_whose_evidence_is_still_being_recorded_says_so(browser, site, shelf):
    shelf.incidents = [make_incident()]
    for path in ("/", f"/incidents/{shelf.incidents[0].id}"):
        _, page = await browser.get(site, path)
        assert "not recorded yet" in page
        assert "<img" not in page


async def test_a_permitted_likeness_promises_no_pictures(browser, site, shelf):
    shelf.incidents = [make_incident(decision=Decision.PERMITTED, violation_since=None)]
    _, page = await browser.get(site, f"/incidents/{shelf.incidents[0].id}")
    assert "Of a permitted likeness no pictures are kept." in page
    assert "recorded yet" not in page


async def test_a_closed_incident_says_when_and_no_longer_loads_itself_again(browser, site, shelf):
    shelf.incidents = [make_incident(state=IncidentState.CLOSED, closed_at=NOW)]
    _, page = await browser.get(site, f"/incidents/{shelf.incidents[0].id}")
    assert "2026-03-04 05:06:07 UTC" in page
    assert "http-equiv" not in page


@pytest.mark.parametrize("wanted", ["01ARZ3NDEKTSV4RRFFQ69G5FAV", "x", "%3Cscript%3E"])
async def test_an_unknown_incident_is_a_page_that_says_so(browser, site, wanted):
    response, page = await browser.get(site, f"/incidents/{wanted}")
    assert response.status == 404
    assert "<script" not in page


@pytest.mark.parametrize("presence", Presence)
async def test_the_page_and_the_api_say_how_the_likeness_is_shown(browser, site, shelf, presence):
    shelf.incidents.append(make_incident(presence=presence))
    _, page = await browser.get(site, f"/incidents/{shelf.incidents[0].id}")
    _, answer = await browser.get(site, f"/api/v1/incidents/{shelf.incidents[0].id}")
    assert f"{PRESENCE_TITLE[presence]}: {PRESENCE_SENTENCE[presence]}" in page
    assert json.loads(answer)["presence"] == presence
    _, listed = await browser.get(site, "/")
    assert (f">{PRESENCE_TITLE[presence]}<" in listed) == (presence is not Presence.PRESENTER)


def test_every_decision_has_words():
    assert set(DECISION_TITLE) == set(DECISION_SENTENCE) == set(Decision)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-5, "just now"), (4.9, "just now"), (5, "5 s ago"), (119, "1 min ago"), (7200, "2 h ago"), (200_000, "2 d ago")],
)
def test_ages_are_short_words(seconds, words):
    assert ago_text(NOW - timedelta(seconds=seconds), NOW) == words


@pytest.mark.parametrize(("seconds", "words"), [(0, "0.0 s"), (4.25, "4.2 s"), (185, "3 min 5 s"), (7440, "2 h 4 min")])
def test_durations_are_short_words(seconds, words):
    assert duration_text(seconds) == words
