"""One attempt at a webhook: what is sent, and what each answer means."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web
from standardwebhooks.webhooks import Webhook
from support.violations import START, make_incident

from monitor.alerts.alert import Alert, AlertLinks
from monitor.alerts.config import WebhookReceiverConfig
from monitor.alerts.receivers.post import retry_after_s
from monitor.alerts.receivers.webhook import WebhookReceiver, sign
from monitor.clock import SystemClock
from monitor.errors import DeliveryError
from monitor.incidents.incident import Transition

if TYPE_CHECKING:
    from conftest import Hook

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ"


def make_alert(transition: Transition = Transition.OPENED) -> Alert:
    incident = make_incident()
    return Alert.about(
        incident,
        transition,
        at=START,
        reason="no_permission",
        detail=incident.decision_detail,
        other_rooms=["demo/obama-clone/room-7"],
        links=AlertLinks.to(incident, web_base_url="https://l.example.org", runbook_url="https://r.example.org"),
    )


def receiver(session: aiohttp.ClientSession, url: str, timeout_s: float = 5.0) -> WebhookReceiver:
    config = WebhookReceiverConfig.model_validate(
        {"type": "webhook", "name": "hook", "url": url, "secret": SECRET, "timeout_s": timeout_s}
    )
    return WebhookReceiver(config, session)


async def failure(session: aiohttp.ClientSession, url: str, timeout_s: float = 5.0) -> DeliveryError:
    with pytest.raises(DeliveryError) as failed:
        await receiver(session, url, timeout_s).send(make_alert(), "msg_1", SystemClock().utc())
    assert "secret-path" not in str(failed.value)
    assert "127.0.0.1" not in str(failed.value)
    return failed.value


async def test_the_body_is_all_that_on_call_needs(session: aiohttp.ClientSession, hook: Hook) -> None:
    await receiver(session, hook.url).send(make_alert(), "msg_1", SystemClock().utc())
    (receipt,) = hook.receipts
    assert receipt.id == "msg_1"
    assert receipt.body == {
        "type": "incident.opened",
        "timestamp": "2026-03-04T05:06:07.000Z",
        "data": {
            "incident_id": "01KJV8Q3C0000000000000000A",
            "sequence": 1,
            "transition": "opened",
            "at": "2026-03-04T05:06:07.000Z",
            "summary": "Barack Obama shown by demo/obama-clone in room room-1: no permission for demo/obama-clone; "
            "permitted accounts on demo: obama-official",
            "reason": "no_permission",
            "detail": "no permission for demo/obama-clone; permitted accounts on demo: obama-official",
            "identity": {"id": "obama", "name": "Barack Obama", "consent": "contract, 2026-01-01, file 12"},
            "decision": "no_permission",
            "decision_detail": "no permission for demo/obama-clone; permitted accounts on demo: obama-official",
            "presence": "presenter",
            "severity": "critical",
            "platform": "demo",
            "account": "obama-clone",
            "room": "room-1",
            "stream_id": "demo",
            "title": "Spring sale, 春",
            "products": ["kettle", "lamp"],
            "other_rooms": ["demo/obama-clone/room-7"],
            "similarity": 0.7123,
            "similarity_threshold": 0.41,
            "margin": 0.6012,
            "log_likelihood": 14.2,
            "log_likelihood_needed": 9.7,
            "samples_matched": 3,
            "samples_seen": 4,
            "seconds_on_screen": 2.0,
            "face_height_px": 150.0,
            "stream_time_first": 12.5,
            "first_seen_at": "2026-03-04T05:06:07.000Z",
            "opened_at": "2026-03-04T05:06:10.000Z",
            "violation_since": "2026-03-04T05:06:10.000Z",
            "last_seen_at": "2026-03-04T05:06:09.000Z",
            "links": {
                "incident": "https://l.example.org/incidents/01KJV8Q3C0000000000000000A",
                "frame": "https://l.example.org/evidence/01KJV8Q3C0000000000000000A/frame.jpg",
                "crop": "https://l.example.org/evidence/01KJV8Q3C0000000000000000A/crop.jpg",
                "reference": "https://l.example.org/evidence/01KJV8Q3C0000000000000000A/reference.jpg",
                "runbook": "https://r.example.org",
            },
        },
    }


def test_an_alert_of_an_older_version_does_not_say_what_its_pictures_were_worth() -> None:
    data = make_alert().to_dict()
    older = Alert.from_dict({name: value for name, value in data.items() if not name.startswith("log_likelihood")})
    assert (Alert.from_dict(data).evidence, older.evidence) == ("14.2, needed 9.7 (natural logarithm of odds)", "")
    assert older.to_dict() == data | {"log_likelihood": None, "log_likelihood_needed": None}


@pytest.mark.parametrize("transition", list(Transition))
async def test_each_transition_has_its_type(session: aiohttp.ClientSession, hook: Hook, transition: Transition) -> None:
    await receiver(session, hook.url).send(make_alert(transition), "msg_1", SystemClock().utc())
    assert hook.types == [f"incident.{transition}"]


def test_the_signature_is_the_one_of_the_standards_own_library() -> None:
    body = json.dumps({"words": "春"}, ensure_ascii=False)
    at = datetime(2026, 3, 4, 5, 6, 7, 890000, tzinfo=UTC)
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    assert sign(key, "msg_1", int(at.timestamp()), body.encode()) == Webhook(SECRET).sign("msg_1", at, body)


@pytest.mark.parametrize(
    ("status", "retryable", "disable"),
    [
        (301, True, False),
        (307, True, False),
        (400, False, False),
        (401, True, False),
        (404, True, False),
        (408, True, False),
        (410, True, True),
        (413, False, False),
        (422, False, False),
        (429, True, False),
        (500, True, False),
        (503, True, False),
    ],
)
async def test_what_each_answer_means(
    session: aiohttp.ClientSession, hook: Hook, status: int, retryable: bool, disable: bool
) -> None:
    hook.answers = [web.Response(status=status, headers={"Location": hook.url})]
    error = await failure(session, hook.url)
    assert (error.retryable, error.disable, error.retry_after_s) == (retryable, disable, None)
    assert str(status) in str(error)
    assert len(hook.receipts) == 1, "no redirect is followed"


@pytest.mark.parametrize(("status", "words"), [(404, "HTTP 404 Not Found"), (599, "HTTP 599")])
async def test_what_the_receiver_says_about_the_address_is_not_repeated(
    session: aiohttp.ClientSession, hook: Hook, status: int, words: str
) -> None:
    url = f"{hook.url}/T000?token=SECRETQ"
    said = "Cannot POST /secret-path/T000?token=SECRETQ"
    hook.answers = [web.Response(status=status, text=said, reason=said)]
    error = await failure(session, url)
    assert str(error) == words


@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_is_read(session: aiohttp.ClientSession, hook: Hook, status: int) -> None:
    hook.answers = [web.Response(status=status, headers={"Retry-After": "17"})]
    assert (await failure(session, hook.url)).retry_after_s == 17


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("0", 0.0),
        ("120", 120.0),
        ("Wed, 04 Mar 2026 05:07:07 GMT", 60.0),
        ("Wed, 04 Mar 2026 05:00:00 GMT", 0.0),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("Wed, 04 Mar 2026 05:07:07", None),
        ("", None),
    ],
)
def test_retry_after_may_be_seconds_or_a_date_or_nonsense(header: str | None, seconds: float | None) -> None:
    assert retry_after_s(header, START) == seconds


async def test_a_receiver_that_never_answers_is_given_up_at_the_deadline(
    session: aiohttp.ClientSession, hook: Hook
) -> None:
    never = asyncio.Event()
    hook.answers = [never]
    error = await failure(session, hook.url, timeout_s=0.2)
    assert error.retryable
    assert str(error) == "no answer within 0.2 s"
    never.set()


async def test_a_receiver_that_drips_its_answer_is_given_up_at_the_deadline(session: aiohttp.ClientSession) -> None:
    hung_up = asyncio.Event()

    async def drip(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 500 Oh\r\nX-Drip: ")
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(b".")
                await writer.drain()
                await asyncio.sleep(0.05)
        writer.close()
        hung_up.set()

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    async with server:
        error = await failure(session, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", timeout_s=0.4)
        await asyncio.wait_for(hung_up.wait(), 5)
    assert error.retryable
    assert str(error) == "no answer within 0.4 s"


async def test_nobody_listening_and_nonsense_for_an_answer_are_tried_again(session: aiohttp.ClientSession) -> None:
    async def babble(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x00\xff nonsense\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        assert (await failure(session, f"http://127.0.0.1:{port}/")).retryable
    refused = await failure(session, f"http://127.0.0.1:{port}/")
    assert refused.retryable
    assert "cannot connect" in str(refused)


async def test_the_timestamp_is_the_attempts_and_not_the_transitions(
    session: aiohttp.ClientSession, hook: Hook
) -> None:
    at = SystemClock().utc() - timedelta(seconds=100)
    await receiver(session, hook.url).send(make_alert(), "msg_1", at)
    assert hook.receipts[0].timestamp == int(at.timestamp())


def test_a_configuration_shows_neither_secret_nor_address() -> None:
    data: dict[str, Any] = {"type": "webhook", "name": "hook", "url": "https://h.example.org/key", "secret": SECRET}
    shown = repr(WebhookReceiverConfig.model_validate(data))
    assert "MfKQ" not in shown
    assert "h.example.org/key" not in shown
