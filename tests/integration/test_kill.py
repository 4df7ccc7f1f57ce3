"""The daemon is killed at random moments; what it told anybody is on disk, once."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections import Counter
from pathlib import Path

import pytest
from support.daemon import DaemonFolder, daemon_folder
from support.waiting import wait_for
from support.webhooks import SECRET, WebhookReceiver, webhook_receiver

from monitor.demo.clip import Clip
from monitor.demo.live_hls import LiveRooms

RESTARTS = 20


def rows(folder: DaemonFolder, query: str) -> list[sqlite3.Row]:
    connection = sqlite3.connect(f"file:{folder.database}?mode=ro", uri=True)
    try:
        connection.row_factory = sqlite3.Row
        return connection.execute(query).fetchall()
    finally:
        connection.close()


@pytest.mark.timeout(420)
async def test_twenty_kills_lose_and_double_no_incident_and_every_transition_is_delivered(
    tmp_path: Path, protected_clip: Clip
) -> None:
    random.seed(20)
    async with webhook_receiver() as receiver, LiveRooms() as rooms:
        url = await rooms.add("steady", protected_clip, on_air_for_s=9)
        flickering = await rooms.add("flickering", protected_clip, on_air_for_s=9)
        streams = [
            {"id": "steady", "url": url, "platform": "demo", "account": "clone-1", "room": "steady"},
            {"id": "flickering", "url": flickering, "platform": "demo", "account": "clone-2", "room": "flickering"},
        ]
        hook = {"type": "webhook", "name": "hook", "url": receiver.url, "secret": SECRET}
        async with daemon_folder(
            tmp_path / "daemon", streams=streams, receivers=[hook], incidents={"close_after": 8.0}
        ) as folder:
            for restart in range(RESTARTS):
                if restart % 5 == 4:
                    rooms.stop("flickering")
                elif restart % 5 == 1 and restart > 5:
                    rooms.restart("flickering", on_air_for_s=9)
                await folder.start()
                await asyncio.sleep(random.uniform(0.5, 14 if restart % 5 == 4 else 6))  # the random moment of the kill
                await folder.kill()
            rooms.restart("flickering", on_air_for_s=9)
            await settle(folder, receiver, rooms)
            check(folder, receiver)


async def settle(folder: DaemonFolder, receiver: WebhookReceiver, rooms: LiveRooms) -> None:
    """Let the last daemon live: both rooms are alerted, then go, then both are resolved and nothing is pending."""
    await folder.start()
    await folder.ready()
    for room in ("steady", "flickering"):
        await wait_for(lambda room=room: receiver.of(room, "opened"), timeout_s=30, what=f"{room} opened")
    is_open = "SELECT 1 FROM incidents WHERE state = 'open'"
    await wait_for(lambda: len(rows(folder, is_open)) == 2, timeout_s=30, what="both are open")
    for room in ("steady", "flickering"):
        rooms.stop(room)
    await wait_for(lambda: not rows(folder, is_open), timeout_s=40, what="all are closed")
    await wait_for(
        lambda: not rows(folder, "SELECT 1 FROM outbox WHERE delivered_at IS NULL"), timeout_s=30, what="all is told"
    )
    assert await folder.stop() == 0


def check(folder: DaemonFolder, receiver: WebhookReceiver) -> None:
    assert receiver.bad == []
    steady = rows(folder, "SELECT * FROM incidents WHERE room = 'steady'")
    assert len(steady) == 1, "the likeness never left the room, so there is one incident"
    outbox = rows(folder, "SELECT * FROM outbox")
    told = {row["id"] for row in outbox}
    received = Counter(receipt.webhook_id for receipt in receiver.receipts)
    assert told == set(received), "every transition arrived, and nothing arrived that is not on disk"
    meaning = {(receipt.webhook_id, receipt.data["incident_id"], receipt.type) for receipt in receiver.receipts}
    assert len(meaning) == len(told), "one id never means two things"
    per_incident = Counter((incident, kind) for _, incident, kind in meaning)
    for (incident,) in [(row["id"],) for row in rows(folder, "SELECT id FROM incidents")]:
        assert per_incident[(incident, "incident.opened")] == 1
        assert per_incident[(incident, "incident.resolved")] == 1
