"""Alerts in a real Alertmanager."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.alertmanager import BINARY, Server
from support.waiting import wait_for

from monitor.incidents.incident import Decision, Incident, Transition
from monitor.sightings.presence import Presence

if TYPE_CHECKING:
    from conftest import Post

pytestmark = pytest.mark.skipif(
    BINARY is None, reason="prometheus-alertmanager is not installed: apt-get install prometheus-alertmanager"
)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    server = Server(tmp_path / "alertmanager")
    await server.start()
    yield server
    await server.stop()


@asynccontextmanager
async def dispatching(post: Post, server: Server) -> AsyncIterator[None]:
    async with post.dispatching(*post.built(post.alertmanager(server.url))):
        yield


async def settled(post: Post) -> None:
    async def empty() -> bool:
        return await post.outbox.pending("am") == 0

    await wait_for(empty, timeout_s=30, what="nothing is pending")


def ends_at(alert: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(alert["endsAt"])


async def test_an_opened_violation_fires_with_all_its_words_and_a_resolved_one_is_gone(
    post: Post, server: Server, incident: Incident
) -> None:
    async with dispatching(post, server):
        await post.tell(incident, receivers=["am"])
        (alert,) = await server.firing(1)
        assert alert["labels"] == {
            "alertname": "LikenessViolation",
            "severity": "critical",
            "identity": "obama",
            "platform": "demo",
            "account": "obama-clone",
            "room": "room-1",
        }
        words = alert["annotations"]
        assert words["violation"] == "no_permission"
        assert words["permission"].endswith("permitted accounts on demo: obama-official")
        assert words["similarity"] == "0.712 (threshold 0.410, margin 0.601)"
        assert words["evidence"] == "14.2, needed 9.7 (natural logarithm of odds)"
        assert words["samples"] == "3 of 4, 2.0 s on screen"
        assert "runbook_url" not in words
        assert alert["generatorURL"] == f"http://127.0.0.1:8080/incidents/{incident.id}"
        assert ends_at(alert) - post.clock.now > timedelta(seconds=239)
        await post.resolve(incident, receivers=["am"])
        await server.firing(0)


async def test_a_resolved_violation_is_gone_also_when_the_clocks_differ(
    post: Post, server: Server, incident: Incident
) -> None:
    async with dispatching(post, server):
        await post.tell(incident, receivers=["am"])
        await server.firing(1)
        post.wait(50)
        await post.resolve(incident, receivers=["am"])
        await settled(post)
        assert await server.alerts() == []


async def test_an_update_changes_the_words_of_the_same_alert(post: Post, server: Server, incident: Incident) -> None:
    async with dispatching(post, server):
        await post.tell(incident, receivers=["am"])
        (before,) = await server.firing(1)
        suspended = replace(incident, decision=Decision.ACCOUNT_SUSPENDED, sequence=2)
        await post.tell(suspended, Transition.UPDATED, receivers=["am"])
        await settled(post)
        (after,) = await server.firing(1)
        assert after["fingerprint"] == before["fingerprint"]
        assert after["startsAt"] == before["startsAt"]
        assert after["annotations"]["violation"] == "account_suspended"
        await post.resolve(suspended, receivers=["am"])
        await server.firing(0)


async def test_a_poster_is_a_warning_until_it_is_a_presenter_and_then_one_critical_alert(
    post: Post, server: Server, incident: Incident
) -> None:
    poster = replace(incident, presence=Presence.BACKGROUND)
    clone = replace(incident, presence=Presence.PRESENTER, sequence=2)
    async with dispatching(post, server):
        await post.tell(poster, receivers=["am"])
        (before,) = await server.firing(1)
        assert (before["labels"]["severity"], before["annotations"]["presence"]) == ("warning", "background")
        await post.tell(clone, Transition.ESCALATED, receivers=["am"])
        await settled(post)
        (after,) = await server.firing(1)
        assert (after["labels"]["severity"], after["annotations"]["presence"]) == ("critical", "presenter")
        await post.resolve(clone, receivers=["am"])
        await server.firing(0)


async def test_a_severity_of_the_operators_own_holds_for_every_alert(
    post: Post, server: Server, incident: Incident
) -> None:
    own = post.alertmanager(server.url).model_copy(update={"labels": {"severity": "page"}})
    async with post.dispatching(*post.built(own)):
        await post.tell(replace(incident, presence=Presence.INSET), receivers=["am"])
        (before,) = await server.firing(1)
        assert before["labels"]["severity"] == "page"
        await post.tell(replace(incident, sequence=2), Transition.ESCALATED, receivers=["am"])
        await settled(post)
        (after,) = await server.firing(1)
        assert after["fingerprint"] == before["fingerprint"]


async def test_an_open_violation_is_refreshed_each_minute(post: Post, server: Server, incident: Incident) -> None:
    async with dispatching(post, server):
        await post.tell(incident, receivers=["am"])
        (before,) = await server.firing(1)
        post.wait(60)

        async def later() -> bool:
            (alert,) = await server.alerts()
            return ends_at(alert) - ends_at(before) == timedelta(seconds=60)

        await wait_for(later, timeout_s=30, what="the alert ends a minute later")


async def test_an_alertmanager_that_restarted_with_no_memory_is_told_again(
    post: Post, server: Server, incident: Incident, tmp_path: Path
) -> None:
    async with dispatching(post, server):
        await post.tell(incident, receivers=["am"])
        await server.firing(1)
        await server.stop()
        shutil.rmtree(tmp_path / "alertmanager")
        await server.start()
        assert await server.alerts() == []
        post.wait(60)
        await server.firing(1)


async def test_a_monitor_that_restarted_keeps_the_alert_firing(post: Post, server: Server, incident: Incident) -> None:
    async with dispatching(post, server):
        await post.tell(incident, receivers=["am"])
        (before,) = await server.firing(1)
    post.wait(30)
    async with dispatching(post, server):
        post.wait(60)

        async def later() -> bool:
            return ends_at((await server.alerts())[0]) > ends_at(before)

        await wait_for(later, timeout_s=30, what="the alert was sent again")
        await post.resolve(incident, receivers=["am"])
        await settled(post)


async def test_what_happened_while_alertmanager_was_down_arrives_in_order(
    post: Post, server: Server, incident: Incident
) -> None:
    other = replace(incident, id="other", key=replace(incident.key, room="room-2"))
    await server.stop()
    async with dispatching(post, server):
        await post.tell(incident, receivers=["am"])
        await post.tell(other, receivers=["am"])
        await post.resolve(incident, receivers=["am"])

        async def tried() -> bool:
            return (await post.reader.deliveries(other.id))[0].attempts > 0

        await wait_for(tried, timeout_s=30, what="a first attempt failed")
        await server.start()
        post.wait(5)
        await settled(post)
        (firing,) = await server.firing(1)
        assert firing["labels"]["room"] == "room-2"
