"""The dispatcher on a real outbox, with real webhook receivers."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from support.chosen_receiver import Chosen
from support.waiting import wait_for

from monitor.alerts.alert import Alert
from monitor.alerts.dispatcher import AT_ONCE
from monitor.incidents.incident import Incident, Transition

if TYPE_CHECKING:
    from conftest import Hook, Post


def rooms(incident: Incident, count: int) -> list[Incident]:
    return [
        replace(incident, id=f"room-{number:02}", key=replace(incident.key, room=str(number)))
        for number in range(count)
    ]


async def received(hook: Hook, count: int) -> None:
    await wait_for(lambda: len(hook.receipts) >= count, timeout_s=30, what=f"{count} requests")


async def settled(post: Post, receiver: str = "hook") -> None:
    async def empty() -> bool:
        return await post.outbox.pending(receiver) == 0

    await wait_for(empty, timeout_s=30, what="nothing is pending")


async def failed(post: Post, incident: Incident, attempts: int) -> None:
    async def counted() -> bool:
        return (await post.reader.deliveries(incident.id))[0].attempts == attempts

    await wait_for(counted, timeout_s=30, what=f"{attempts} failed attempts are written")


async def test_a_row_is_delivered_at_once_when_the_dispatcher_is_nudged(
    post: Post, hook: Hook, incident: Incident, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monitor.alerts.dispatcher.POLL_S", 3600.0)
    async with post.dispatching(*post.built(post.webhook(hook.url))):
        await post.tell(incident)
        await settled(post)
    assert hook.types == ["incident.opened"]
    (row,) = await post.reader.deliveries(incident.id)
    assert hook.receipts[0].id == row.id
    assert row.delivered_at == post.clock.now
    assert post.metric("monitor_alerts_delivered_total", receiver="hook") == 1
    assert post.metric("monitor_alert_delivery_seconds_count", receiver="hook") == 1


async def test_a_row_that_nobody_nudged_for_is_found_by_polling(post: Post, hook: Hook, incident: Incident) -> None:
    async with post.dispatching(*post.built(post.webhook(hook.url))) as dispatcher:
        post.dispatcher = None
        await asyncio.sleep(0)
        await post.tell(incident)
        await settled(post)
        post.dispatcher = dispatcher
    assert hook.types == ["incident.opened"]


async def test_a_failed_delivery_is_repeated_with_the_same_id_after_a_growing_wait(
    post: Post, hook: Hook, incident: Incident
) -> None:
    hook.answers = [web.Response(status=503), web.Response(status=500), web.Response(status=404)]
    async with post.dispatching(*post.built(post.webhook(hook.url))):
        await post.tell(incident)
        waits = []
        for attempt in range(1, 4):
            await failed(post, incident, attempt)
            (row,) = await post.reader.deliveries(incident.id)
            waits.append((row.next_attempt_at - post.clock.now).total_seconds())
            assert len(hook.receipts) == attempt
            post.wait(waits[-1])
        await settled(post)
    assert 0.5 <= waits[0] <= 1 <= waits[1] <= 2 <= waits[2] <= 4
    assert len({receipt.id for receipt in hook.receipts}) == 1
    assert len(hook.receipts) == 4
    assert hook.receipts[-1].timestamp > hook.receipts[0].timestamp
    assert post.metric("monitor_alert_failures_total", receiver="hook", kind="try_again") == 3


async def test_an_incidents_alerts_arrive_in_order_while_other_incidents_pass(
    post: Post, hook: Hook, incident: Incident
) -> None:
    other = replace(incident, id="other", key=replace(incident.key, room="room-2"))
    hook.answers = [web.Response(status=503)]
    async with post.dispatching(*post.built(post.webhook(hook.url))):
        await post.tell(incident)
        await failed(post, incident, 1)
        await post.tell(replace(incident, sequence=2), Transition.UPDATED)
        await post.resolve(replace(incident, sequence=2))
        await post.tell(other)
        await received(hook, 2)
        post.wait(5)
        await settled(post)
    ours = [receipt.type for receipt in hook.receipts if receipt.body["data"]["incident_id"] == incident.id]
    assert ours == ["incident.opened", "incident.opened", "incident.updated", "incident.resolved"]
    assert hook.receipts[1].body["data"]["incident_id"] == "other"


async def test_a_receiver_that_hangs_holds_back_nobody_else(post: Post, hook: Hook, incident: Incident) -> None:
    stuck = asyncio.Event()
    hook.answers = [stuck]
    slow, fast = post.webhook(hook.url, "slow"), post.webhook(hook.url, "fast")
    async with post.dispatching(*post.built(slow)):
        await post.tell(incident, receivers=["slow"])
        await received(hook, 1)
        stuck.set()
        await settled(post, "slow")
    stuck.clear()
    hook.answers = [stuck]
    async with post.dispatching(*post.built(slow, fast)):
        await post.tell(replace(incident, sequence=2), Transition.UPDATED, receivers=["slow"])
        await received(hook, 2)
        await post.tell(replace(incident, sequence=3), Transition.UPDATED, receivers=["fast"])
        await settled(post, "fast")
        assert await post.outbox.pending("slow") == 1
        stuck.set()
        await settled(post, "slow")


async def test_an_incidents_order_stays_whatever_fails(post: Post, incident: Incident) -> None:
    receiver = Chosen()
    receiver.failing = 0.4
    shown = rooms(incident, 2 * AT_ONCE)

    async def sent() -> bool:
        post.wait(400)
        return await post.outbox.pending("chosen") == 0

    async with post.dispatching(receiver):
        for sequence in (1, 2, 3):
            for one in shown:
                await post.tell(replace(one, sequence=sequence), Transition.UPDATED, ["chosen"])
        await wait_for(sent, timeout_s=60, what="all is delivered")
    assert len(receiver.tried) > len(receiver.taken), "some attempts failed"
    for one in shown:
        tried = [sequence for name, sequence in receiver.tried if name == one.id]
        assert tried == sorted(tried), "none is tried before the ones before it are taken"
        assert receiver.of(one) == [1, 2, 3]


async def test_an_alert_that_hangs_holds_back_its_own_incident_only(post: Post, incident: Incident) -> None:
    receiver = Chosen()
    stuck = asyncio.Event()
    receiver.hangs[incident.id] = stuck
    others = rooms(incident, 3 * AT_ONCE)
    async with post.dispatching(receiver):
        for one in (incident, *others):
            await post.tell(one, receivers=["chosen"])
        await post.resolve(incident, ["chosen"])
        await wait_for(lambda: len(receiver.taken) == len(others), timeout_s=30, what="the others have theirs")
        late = replace(incident, id="late", key=replace(incident.key, room="late"))
        await post.tell(late, receivers=["chosen"])
        await wait_for(lambda: receiver.of(late) == [1], timeout_s=30, what="a later one as well")
        assert receiver.of(incident) == []
        stuck.set()
        await settled(post, "chosen")
    assert receiver.of(incident) == [1, 2]
    assert len(receiver.tried) == len(receiver.taken), "nothing was sent twice"


async def test_no_more_than_the_limit_is_under_way_and_each_end_lets_the_next_begin(
    post: Post, incident: Incident
) -> None:
    receiver = Chosen()
    shown = rooms(incident, AT_ONCE + 2)
    ends = {one.id: asyncio.Event() for one in shown}
    receiver.hangs = dict(ends)
    async with post.dispatching(receiver):
        for one in shown:
            await post.tell(one, receivers=["chosen"])
        for ended in range(3):
            await wait_for(
                lambda n=AT_ONCE + ended: len(receiver.tried) == n, timeout_s=30, what="the places are taken"
            )
            post.wait(0)
            assert await post.outbox.pending("chosen") == len(shown) - ended
            assert len(receiver.tried) == AT_ONCE + ended
            if ended < 2:
                ends[shown[ended].id].set()
        for end in ends.values():
            end.set()
        await settled(post, "chosen")


async def test_repeating_what_is_in_force_holds_back_nothing_new_and_never_follows_what_is_newer(
    post: Post, incident: Incident
) -> None:
    receiver = Chosen(refresh_s=60.0)
    shown = rooms(incident, 2 * AT_ONCE)
    stuck = asyncio.Event()
    async with post.dispatching(receiver):
        for one in shown:
            await post.tell(one, receivers=["chosen"])
        await settled(post, "chosen")
        receiver.hangs = {one.id: stuck for one in shown}
        before = len(receiver.tried)
        post.wait(60)
        await wait_for(lambda: len(receiver.tried) > before, timeout_s=30, what="the repetition began")
        await post.tell(incident, receivers=["chosen"])
        await wait_for(lambda: receiver.of(incident) == [1], timeout_s=30, what="the new one is delivered meanwhile")
        for one in shown:
            await post.resolve(one, ["chosen"])
        stuck.set()
        await settled(post, "chosen")
    for one in shown:
        assert receiver.of(one) in ([1, 2], [1, 1, 2])


async def test_rows_of_another_version_are_read_or_given_up_and_the_rest_goes_on(
    post: Post, hook: Hook, incident: Incident, caplog: pytest.LogCaptureFixture
) -> None:
    newer, older, broken = rooms(incident, 3)

    def alter(one: Incident, text: str) -> None:
        with sqlite3.connect(post.database.path) as connection:
            connection.execute("UPDATE outbox SET alert = ? WHERE incident_id = ? AND sequence = 1", (text, one.id))
        connection.close()

    for one in (broken, newer, older, incident):
        await post.tell(one)
    data = (await post.outbox.due("hook", post.clock.now, 1))[0].alert.to_dict()
    alter(newer, json.dumps(data | {"incident_id": newer.id, "new_key": 1, "links": data["links"] | {"video": "x"}}))
    alter(older, json.dumps({key: data[key] for key in data if key != "title"} | {"incident_id": older.id}))
    alter(broken, json.dumps(data | {"decision": "face_of_a_ghost"}))
    await post.resolve(broken)
    async with post.dispatching(*post.built(post.webhook(hook.url))):
        await settled(post)
    told = {(receipt.body["data"]["incident_id"], receipt.type) for receipt in hook.receipts}
    assert told == {
        (newer.id, "incident.opened"),
        (older.id, "incident.opened"),
        (incident.id, "incident.opened"),
        (broken.id, "incident.resolved"),
    }
    dead, delivered = await post.reader.deliveries(broken.id)
    assert dead.dead_at == post.clock.now
    assert (dead.last_error or "").startswith("cannot be read: decision: ")
    assert delivered.delivered_at is not None
    assert f"alert_unreadable receiver=hook webhook_id={dead.id} incident={broken.id}" in caplog.text


async def test_retry_after_is_honoured(post: Post, hook: Hook, incident: Incident) -> None:
    hook.answers = [web.Response(status=429, headers={"Retry-After": "90"})]
    async with post.dispatching(*post.built(post.webhook(hook.url))):
        await post.tell(incident)
        await failed(post, incident, 1)
        (row,) = await post.reader.deliveries(incident.id)
        assert (row.next_attempt_at - post.clock.now).total_seconds() == 90
        assert post.metric("monitor_alert_failures_total", receiver="hook", kind="asked_to_wait") == 1
        post.wait(90)
        await settled(post)


async def test_a_message_that_is_refused_is_dead_with_its_reason_and_the_next_one_goes(
    post: Post, hook: Hook, incident: Incident
) -> None:
    hook.answers = [web.Response(status=422)]
    async with post.dispatching(*post.built(post.webhook(hook.url))):
        await post.tell(incident)
        await settled(post)
        await post.resolve(incident)
        await settled(post)
    assert hook.types == ["incident.opened", "incident.resolved"]
    dead, delivered = await post.reader.deliveries(incident.id)
    assert (dead.dead_at, dead.delivered_at) == (post.clock.now, None)
    assert dead.last_error is not None
    assert dead.last_error.startswith("HTTP 422 ")
    assert delivered.delivered_at is not None
    assert post.metric("monitor_alert_failures_total", receiver="hook", kind="refused") == 1


async def test_a_receiver_that_is_gone_is_left_alone_until_the_next_start_and_its_rows_are_kept(
    post: Post, hook: Hook, incident: Incident, caplog: pytest.LogCaptureFixture
) -> None:
    hook.answers = [web.Response(status=410)]
    receiver = post.webhook(hook.url)
    async with post.dispatching(*post.built(receiver)):
        await post.tell(incident)
        await failed(post, incident, 1)
        await post.resolve(incident)
        post.wait(200)
        await wait_for(
            lambda: post.metric("monitor_alerts_pending", receiver="hook") == 2, timeout_s=30, what="both rows wait"
        )
        assert post.metric("monitor_alert_receiver_disabled", receiver="hook") == 1
        assert len(hook.receipts) == 1
    assert "receiver_disabled receiver=hook reason=gone" in caplog.text
    assert hook.url not in caplog.text
    async with post.dispatching(*post.built(receiver)):
        await settled(post)
    assert hook.types == ["incident.opened", "incident.opened", "incident.resolved"]


async def test_a_new_process_delivers_what_the_last_one_left_with_the_same_id(
    post: Post, hook: Hook, incident: Incident
) -> None:
    stuck = asyncio.Event()
    hook.answers = [stuck]
    receiver = post.webhook(hook.url)
    async with post.dispatching(*post.built(receiver)):
        await post.tell(incident)
        await received(hook, 1)
    async with post.dispatching(*post.built(receiver)):
        await settled(post)
    stuck.set()
    assert hook.types == ["incident.opened", "incident.opened"]
    assert hook.receipts[0].id == hook.receipts[1].id


async def test_a_database_that_fails_delays_and_loses_nothing(
    post: Post, hook: Hook, incident: Incident, caplog: pytest.LogCaptureFixture
) -> None:
    await post.tell(incident)
    connection = sqlite3.connect(post.database.path, isolation_level=None)
    connection.execute("CREATE TRIGGER refuse BEFORE UPDATE ON outbox BEGIN SELECT RAISE(FAIL, 'disk full'); END")
    async with post.dispatching(*post.built(post.webhook(hook.url))):
        await wait_for(lambda: "reason=database" in caplog.text, timeout_s=30, what="the failure is logged")
        connection.execute("DROP TRIGGER refuse")
        connection.close()
        await settled(post)
    assert {receipt.id for receipt in hook.receipts} == {(await post.reader.deliveries(incident.id))[0].id}


async def test_a_fault_inside_one_receiver_does_not_end_the_others(
    post: Post, hook: Hook, incident: Incident, caplog: pytest.LogCaptureFixture
) -> None:
    class Faulty:
        name = "faulty"
        refresh_s: float | None = None

        async def send(self, alert: Alert, webhook_id: str, attempt_at: datetime) -> None:
            raise RuntimeError("a bug")

    async with post.dispatching(Faulty(), *post.built(post.webhook(hook.url))):
        await post.tell(incident, receivers=["faulty", "hook"])
        await settled(post, "hook")
        await wait_for(
            lambda: "receiver_fault receiver=faulty" in caplog.text, timeout_s=30, what="the fault is logged"
        )

        async def written() -> bool:
            return [row.attempts for row in await post.reader.deliveries(incident.id)] == [1, 0]

        await wait_for(written, timeout_s=30, what="the fault counts as a failed attempt")


async def test_alerts_in_force_are_sent_again_until_they_are_resolved(post: Post, incident: Incident) -> None:
    class Forgetful:
        name = "forgetful"
        refresh_s: float | None = 60.0

        def __init__(self) -> None:
            self.sent: list[tuple[str, str]] = []

        async def send(self, alert: Alert, webhook_id: str, attempt_at: datetime) -> None:
            self.sent.append((alert.transition, webhook_id))

    receiver = Forgetful()
    async with post.dispatching(receiver):
        await post.tell(incident, receivers=["forgetful"])
        await settled(post, "forgetful")
        for count in (2, 3):
            post.wait(59.9)
            post.wait(0.1)
            await wait_for(lambda count=count: len(receiver.sent) == count, timeout_s=30, what=f"{count} sent")
        await post.resolve(incident, receivers=["forgetful"])
        await settled(post, "forgetful")
        post.wait(60)
        post.wait(60)
        await post.tell(replace(incident, id="other"), receivers=["forgetful"])
        await settled(post, "forgetful")
    kinds = [kind for kind, _ in receiver.sent]
    assert kinds[:4] == ["opened", "opened", "opened", "resolved"]
    # Delivered in the very turn that is due for refreshing, the other one may at once be sent again.
    assert set(kinds[4:]) == {"opened"}
    first, other = ({webhook_id for _, webhook_id in sent} for sent in (receiver.sent[:3], receiver.sent[4:]))
    assert len(first) == len(other) == 1
    assert first != other


async def test_without_receivers_it_has_nothing_to_do(post: Post) -> None:
    async with post.dispatching() as dispatcher:
        await asyncio.wait_for(dispatcher.run(), 1)
