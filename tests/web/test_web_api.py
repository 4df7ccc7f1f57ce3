"""The JSON API over a real server."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
from dataclasses import replace

import pytest
from prometheus_client import Counter
from support.site import NOW, SECRET_URL, Board, make_delivery, make_escalated, make_incident

from monitor.errors import PackError, StorageError
from monitor.incidents.incident import Decision, IncidentState, TimelineEntry
from monitor.web.readiness import Probe, Watch


async def _works() -> None:
    return None


async def test_healthz_answers_while_the_loop_turns(browser, site):
    response, text = await browser.get(site, "/healthz")
    assert (response.status, json.loads(text)) == (200, {"status": "ok"})


async def test_readyz_is_ready_when_every_probe_passes_and_something_is_watched(browser, site):
    response, text = await browser.get(site=replace(site, probes=[Probe(name="pack", check=_works)]), path="/readyz")
    answer = json.loads(text)
    assert response.status == 200
    assert answer["ready"] is answer["watching"] is True
    assert answer["probes"] == {"pack": {"ok": True, "detail": ""}}
    assert answer["configured"] == {"streams": 1, "identities": 1, "receivers": 1}


async def test_readyz_names_the_part_that_fails_and_why_without_secrets(browser, site):
    async def broken() -> None:
        raise PackError(f"no pack; see {SECRET_URL}")

    probes = [Probe(name="pack", check=broken), Probe(name="database", check=_works)]
    response, text = await browser.get(replace(site, probes=probes), "/readyz")
    answer = json.loads(text)
    assert response.status == 503
    assert answer["ready"] is False
    assert answer["probes"]["pack"] == {"ok": False, "detail": "no pack; see rtmp://live.example.org/***"}
    assert answer["probes"]["database"]["ok"] is True


async def test_readyz_does_not_wait_for_a_probe_that_hangs(browser, site, monkeypatch):
    monkeypatch.setattr("monitor.web.readiness.PROBE_TIMEOUT_S", 0.05)
    probes = [Probe(name="database", check=asyncio.Event().wait)]
    response, text = await browser.get(replace(site, probes=probes), "/readyz")
    assert response.status == 503
    assert json.loads(text)["probes"]["database"]["detail"] == "no answer within 0.05 s"


@pytest.mark.parametrize("missing", ["streams", "identities", "receivers"])
async def test_a_monitor_that_watches_nothing_is_not_ready_and_says_why(browser, site, missing):
    watch = Watch(**({"streams": 1, "identities": 1, "receivers": 1} | {missing: 0}))
    response, text = await browser.get(replace(site, watch=lambda: watch), "/readyz")
    answer = json.loads(text)
    assert response.status == 503
    assert answer["watching"] is False
    (reason,) = answer["reasons"]
    assert {"streams": "no stream", "identities": "no identity", "receivers": "no receiver"}[missing] in reason


async def test_a_monitor_whose_every_address_is_refused_is_not_ready(browser, site):
    watch = Watch(streams=2, refused=2, identities=1, receivers=1)
    async with browser.session.get(
        (await browser.open(replace(site, watch=lambda: watch))).url + "/readyz"
    ) as response:
        assert response.status == 503
        assert "network.allow" in (await response.json())["reasons"][0]


async def test_with_a_hook_a_monitor_without_a_room_is_ready_for_the_first(browser, site):
    watch = Watch(streams=0, hooks=1, identities=1, receivers=1)
    response, text = await browser.get(replace(site, watch=lambda: watch), "/readyz")
    assert response.status == 200
    assert json.loads(text)["watching"] is True


async def test_streams_are_listed_with_their_state_and_never_their_url(browser, site):
    response, text = await browser.get(site, "/api/v1/streams")
    (stream,) = json.loads(text)["streams"]
    assert response.status == 200
    assert (stream["id"], stream["state"], stream["reason"]) == ("douyin-8841", "live", "receiving")
    assert "very-secret-key" not in text
    assert "url" not in stream


async def test_a_stream_that_was_not_started_yet_has_no_state(browser, site):
    _, text = await browser.get(replace(site, statuses=Board()), "/api/v1/streams")
    assert json.loads(text)["streams"][0]["state"] is None


async def test_incidents_are_listed_newest_first_page_by_page_without_gap_or_repeat(browser, site, shelf):
    shelf.incidents = [make_incident(number) for number in range(1, 6)]
    path, seen = "/api/v1/incidents?limit=2&state=open", []
    while path:
        _, text = await browser.get(site, path)
        answer = json.loads(text)
        assert len(answer["incidents"]) <= 2
        seen += [incident["id"] for incident in answer["incidents"]]
        path = answer["next"]
    assert seen == [incident.id for incident in shelf.incidents]


async def test_a_full_last_page_promises_nothing_behind_it(browser, site, shelf):
    shelf.incidents = [make_incident(1), make_incident(2)]
    _, text = await browser.get(site, "/api/v1/incidents?limit=2")
    assert json.loads(text)["next"] is None


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ("state=closed", [2]),
        ("decision=permitted", [3]),
        ("decision=permitted&decision=too_many_rooms", [2, 3]),
        ("identity=obama", [1, 2, 3]),
        ("identity=nobody", []),
        ("platform=douyin&account=shop-88&room=room-1", [1]),
    ],
)
async def test_incidents_can_be_filtered(browser, site, shelf, query, numbers):
    shelf.incidents = [
        make_incident(1),
        make_incident(2, state=IncidentState.CLOSED, decision=Decision.TOO_MANY_ROOMS, closed_at=NOW),
        make_incident(3, decision=Decision.PERMITTED),
    ]
    _, text = await browser.get(site, f"/api/v1/incidents?{query}")
    rooms = [incident["room"] for incident in json.loads(text)["incidents"]]
    assert rooms == [f"room-{number}" for number in numbers]


@pytest.mark.parametrize(
    ("query", "name", "allowed"),
    [
        ("limit=0", "limit", "a whole number from 1 to 200"),
        ("limit=201", "limit", "from 1 to 200"),
        ("limit=1e2", "limit", "from 1 to 200"),
        ("limit=%D9%A1", "limit", "from 1 to 200"),
        ("limit=-1", "limit", "from 1 to 200"),
        ("limit=", "limit", "from 1 to 200"),
        ("limit=99999999999999999999", "limit", "from 1 to 200"),
        ("before=../x", "before", "an incident's id"),
        ("before=", "before", "an incident's id"),
        ("state=opne", "state", "open, closed"),
        ("decision=bad", "decision", "permitted, no_permission"),
        ("room=", "room", "1 to 200 characters"),
        ("room=" + "x" * 201, "room", "1 to 200 characters"),
        ("colour=red", "colour", "limit, before, state"),
        ("limit=1&limit=2", "limit", "one value"),
    ],
)
async def test_a_bad_parameter_is_refused_by_name_with_what_is_allowed(browser, site, query, name, allowed):
    response, text = await browser.get(site, f"/api/v1/incidents?{query}")
    error = json.loads(text)["error"]
    assert response.status == error["status"] == 400
    assert error["message"].startswith(f"parameter {name}: ")
    assert allowed in error["message"]


async def test_one_incident_has_its_numbers_its_timeline_and_its_evidence(browser, site, shelf):
    incident = make_incident(manifest_sha256="ab" * 32)
    shelf.incidents = [incident]
    entry = TimelineEntry(incident_id=incident.id, at=NOW, event="opened", reason="no_permission", detail="none")
    shelf.entries = {incident.id: [entry]}
    shelf.rows = {incident.id: [make_delivery(attempts=1, last_error=f"no answer from {SECRET_URL}")]}
    response, text = await browser.get(site, f"/api/v1/incidents/{incident.id}")
    answer = json.loads(text)
    assert response.status == 200
    assert answer["similarity"] == 0.713
    assert answer["opened_at"] == "2026-03-04T05:05:07.000Z"
    assert answer["closed_at"] is None
    assert answer["evidence"]["frame"] == f"/evidence/{incident.id}/frame.jpg"
    (alert,) = answer["alerts"]
    assert (alert["receiver"], alert["delivered_at"]) == ("on-call", None)
    assert alert["last_error"] == "no answer from rtmp://live.example.org/***"
    assert answer["timeline"] == [
        {"at": "2026-03-04T05:06:07.000Z", "event": "opened", "reason": "no_permission", "detail": "none"}
    ]


async def test_of_several_evidences_the_newest_is_given_and_the_earlier_are_listed(browser, site, shelf):
    shelf.incidents = [make_escalated()]
    incident = shelf.incidents[0]
    _, text = await browser.get(site, f"/api/v1/incidents/{incident.id}")
    answer = json.loads(text)
    assert answer["manifest_sha256"] == answer["evidence"]["manifest_sha256"] == "cd" * 32
    assert answer["evidence"]["frame"] == f"/evidence/{incident.id}-presenter/frame.jpg"
    assert answer["evidence"]["presence"] == "presenter"
    assert (answer["log_likelihood"], answer["log_likelihood_needed"]) == (14.2, 9.7)
    (earlier,) = answer["earlier_evidence"]
    assert earlier["manifest"] == f"/evidence/{incident.id}/manifest.json"
    assert (earlier["presence"], earlier["manifest_sha256"]) == ("background", "ab" * 32)


async def test_an_incident_without_evidence_points_to_none(browser, site, shelf):
    shelf.incidents = [make_incident()]
    _, text = await browser.get(site, "/api/v1/incidents")
    assert json.loads(text)["incidents"][0]["evidence"] is None


@pytest.mark.parametrize("wanted", ["01ARZ3NDEKTSV4RRFFQ69G5FAV", "nonsense", "..%2f..%2fetc", "%00"])
async def test_an_incident_that_is_not_there_is_a_404_in_json(browser, site, wanted):
    response, text = await browser.get(site, f"/api/v1/incidents/{wanted}")
    assert response.status == 404
    assert json.loads(text)["error"]["message"] == "there is nothing at this address"


async def test_a_database_that_cannot_be_read_is_a_503_that_says_so(browser, site, shelf):
    shelf.failure = StorageError("database data/monitor.db: disk I/O error")
    response, text = await browser.get(site, "/api/v1/incidents")
    assert response.status == 503
    assert "disk I/O error" in json.loads(text)["error"]["message"]


@pytest.mark.parametrize("path", ["/api/v1/incidents", "/"])
async def test_a_defect_shows_the_client_nothing_of_the_inside(browser, site, shelf, path, caplog):
    shelf.failure = RuntimeError("secret detail")
    response, text = await browser.get(site, path)
    assert response.status == 500
    assert "secret detail" not in text
    assert "Traceback" not in text
    assert "secret detail" in caplog.text


async def test_metrics_are_valid_for_prometheus_and_count_requests_by_route(browser, site, shelf):
    incident = make_incident()
    shelf.incidents = [incident]
    Counter("monitor_test_total", "A counter.", registry=site.registry).inc()
    server = await browser.open(site)
    for path in ("/", f"/incidents/{incident.id}", "/incidents/nonsense", "/no/such/page"):
        async with browser.session.get(server.url + path) as response:
            await response.read()
    async with browser.session.get(server.url + "/metrics") as response:
        text = await response.text()
        assert response.content_type == "text/plain"
    assert 'monitor_web_request_seconds_count{route="/incidents/{incident}"} 2.0' in text
    assert 'monitor_web_request_seconds_count{route="unmatched"} 1.0' in text
    assert "monitor_test_total 1.0" in text
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed (Debian package prometheus): the output's form was not checked")
    pipe = asyncio.subprocess.PIPE
    check = await asyncio.create_subprocess_exec("promtool", "check", "metrics", stdin=pipe, stdout=pipe, stderr=pipe)
    said = await check.communicate(text.encode())
    assert (check.returncode, *said) == (0, b"", b"")


async def test_metrics_are_rendered_off_the_loop(browser, site):
    class Nosy:
        """A collector that notes the thread it is asked in."""

        def collect(self):
            threads.append(threading.current_thread())
            return iter(())

    threads: list[threading.Thread] = []
    server = await browser.open(site)
    site.registry.register(Nosy())
    threads.clear()
    async with browser.session.get(server.url + "/metrics") as response:
        assert response.status == 200
    assert threads
    assert threading.main_thread() not in threads
