"""Settings that are refused, and the pure rules of repeating."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError
from support.violations import START

from monitor.alerts.config import AlertsConfig
from monitor.alerts.retry import FailureKind, backoff_s, plan_retry
from monitor.errors import DeliveryError

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ"
HOOK = {"type": "webhook", "name": "hook", "url": "https://h.example.org/x", "secret": SECRET}
AM = {"type": "alertmanager", "name": "am", "url": "http://127.0.0.1:9093"}


@pytest.mark.parametrize(
    ("receiver", "words"),
    [
        ({"name": "x"}, "discriminator 'type'"),
        ({"type": "pager", "name": "x"}, "'log', 'webhook', 'alertmanager'"),
        ({"type": "log"}, "Field required"),
        ({"type": "log", "name": "Not Good"}, "match pattern"),
        ({"type": "log", "name": ""}, "match pattern"),
        ({"type": "log", "name": "x", "url": "http://x"}, "not permitted"),
        (HOOK | {"url": "ftp://h.example.org"}, "http:// or https://"),
        (HOOK | {"url": "https://"}, "with a host"),
        (HOOK | {"url": "h.example.org"}, "http:// or https://"),
        (HOOK | {"secret": SECRET.removeprefix("whsec_")}, "must be whsec_"),
        (HOOK | {"secret": "whsec_c2hvcnQ="}, "at least 24 bytes"),
        (HOOK | {"secret": "whsec_!" + "A" * 40}, "base64"),
        (HOOK | {"secret": "whsec_春" + "A" * 40}, "base64"),
        (HOOK | {"secret": ""}, "openssl rand"),
        ({key: HOOK[key] for key in ("type", "name", "url")}, "Field required"),
        (HOOK | {"timeout_s": 0}, "greater than or equal"),
        (HOOK | {"timeout_s": 61}, "less than or equal"),
        (HOOK | {"retries": 3}, "not permitted"),
        (AM | {"url": "127.0.0.1:9093"}, "http:// or https://"),
        (AM | {"labels": {"account": "x", "room": "y"}}, "account, room set by the monitor itself"),
        (AM | {"labels": {"not-a-name": "x"}}, "not-a-name: a label's name"),
        (AM | {"labels": {"1st": "x"}}, "no digit first"),
        (AM | {"timeout_s": 0.01}, "greater than or equal"),
    ],
)
def test_a_bad_receiver_is_refused_and_its_values_are_not_repeated(receiver: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        AlertsConfig.model_validate({"receivers": [receiver]})
    assert words in str(refusal.value)
    secret = receiver.get("secret")
    assert not secret or secret not in str(refusal.value)
    assert refusal.value.errors()[0]["loc"][:2] == ("receivers", 0)


def test_two_receivers_of_one_name_are_refused() -> None:
    with pytest.raises(ValidationError, match="used more than once: hook"):
        AlertsConfig.model_validate({"receivers": [HOOK, AM, HOOK]})


@pytest.mark.parametrize("value", ["wiki/alerts", "javascript:alert(1)"])
def test_a_runbook_that_is_no_web_address_is_refused(value: str) -> None:
    with pytest.raises(ValidationError, match="http:// or https://"):
        AlertsConfig(runbook_url=value)


def test_each_type_of_receiver_is_accepted_and_the_default_is_the_log() -> None:
    config = AlertsConfig.model_validate({"receivers": [HOOK, AM, {"type": "log", "name": "log"}]})
    assert [receiver.name for receiver in config.receivers] == ["hook", "am", "log"]
    assert [receiver.type for receiver in AlertsConfig().receivers] == ["log"]


def test_waits_double_from_a_second_to_five_minutes_and_jitter_takes_up_to_half() -> None:
    assert [backoff_s(failures, 1.0) for failures in (1, 2, 3, 9, 10, 5000)] == [1, 2, 4, 256, 300, 300]
    assert [backoff_s(failures, 0.0) for failures in (1, 10)] == [0.5, 150]


@pytest.mark.parametrize(
    ("error", "kind", "wait_s"),
    [
        (DeliveryError("down"), FailureKind.TRY_AGAIN, 4.0),
        (DeliveryError("slow", retry_after_s=60), FailureKind.ASKED_TO_WAIT, 60.0),
        (DeliveryError("slow", retry_after_s=0), FailureKind.ASKED_TO_WAIT, 4.0),
        (DeliveryError("slow", retry_after_s=1e9), FailureKind.ASKED_TO_WAIT, 3600.0),
        (DeliveryError("gone", disable=True), FailureKind.GONE, 4.0),
    ],
)
def test_what_follows_from_a_failure(error: DeliveryError, kind: FailureKind, wait_s: float) -> None:
    plan = plan_retry(error, failures=3, now=START, jitter=1.0)
    assert (plan.kind, plan.next_attempt_at) == (kind, START + timedelta(seconds=wait_s))


def test_a_refused_message_is_not_tried_again() -> None:
    plan = plan_retry(DeliveryError("no", retryable=False), failures=1, now=START, jitter=1.0)
    assert plan.kind is FailureKind.REFUSED
