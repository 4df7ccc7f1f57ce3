"""The daemon is killed at random moments, and just after it opened an incident: all of it is on disk, and told once."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.daemon import DaemonFolder, daemon_folder
from support.waiting import wait_for
from support.webhooks import SECRET, WebhookReceiver, webhook_receiver

from monitor.demo.clip import Clip
from monitor.demo.live_hls import LiveRooms

RESTARTS = 20
AT_AN_OPENING = frozenset({0, 7, 12, 17})
"""Restarts that are killed as soon as an incident's opening is in the database."""
STEP_S = 0.02


@dataclass
class Kills:
    """What the kills hit."""

    while_open: int = 0
    """An incident was open."""
    at_an_opening: int = 0
    """The transaction that opened an incident had become visible less than half a second before."""


def rows(folder: DaemonFolder, query: str) -> list[sqlite3.Row]:
    with closing(sqlite3.connect(f"file:{folder.database}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        return connection.execute(query).fetchall()


def count(folder: DaemonFolder, query: str) -> int:
    """Of rows; none while there are no tables yet."""
    try:
        return len(rows(folder, query))
    except sqlite3.OperationalError:
        return 0


@pytest.mark.timeout(420)
async def test_twenty_kills_lose_and_double_no_incident_and_every_transition_is_delivered_in_order(
    tmp_path: Path, protected_clip: Clip
) -> None:
    random.seed(20)
    kills = Kills()
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
                elif restart % 5 == 2 and restart > 5:
                    rooms.restart("flickering", on_air_for_s=9)
                await folder.start()
                await killed(folder, restart, kills)
            rooms.restart("flickering", on_air_for_s=9)
            await settle(folder, receiver, rooms)
            check(folder, receiver)
    assert kills.while_open > 0
    assert kills.at_an_opening > 0


async def killed(folder: DaemonFolder, restart: int, kills: Kills) -> None:
    """Kill the daemon at a random moment; in some restarts right after an opening, if there is one by then."""
    opened = "SELECT 1 FROM outbox WHERE transition = 'opened'"
    before = count(folder, opened)
    is_open = "SELECT 1 FROM incidents WHERE state = 'open'"
    loop = asyncio.get_running_loop()
    # After the room went, often long enough for its incident to be resolved; the first start has networks to prepare.
    lives_s = random.uniform(0.5, 12 if restart % 5 == 4 else 5)
    if restart in AT_AN_OPENING:
        lives_s = 12 if restart else 60
    deadline = loop.time() + lives_s
    unopened_at, opening = loop.time(), False
    while not opening and (now := loop.time()) < deadline:
        opening = restart in AT_AN_OPENING and count(folder, opened) > before
        unopened_at = unopened_at if opening else now
        await asyncio.sleep(0 if opening else STEP_S)
    await folder.kill()
    kills.at_an_opening += opening and loop.time() - unopened_at < 0.5
    kills.while_open += count(folder, is_open) > 0


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
    incidents = rows(folder, "SELECT id, room FROM incidents")
    assert [row["room"] for row in incidents].count("steady") == 1, "the likeness never left the room"
    outbox = rows(folder, "SELECT * FROM outbox")
    told = {row["id"] for row in outbox}
    received = {receipt.webhook_id for receipt in receiver.receipts}
    assert told == received, "every transition arrived, and nothing arrived that is not on disk"
    meaning = {(receipt.webhook_id, receipt.data["incident_id"], receipt.type) for receipt in receiver.receipts}
    assert len(meaning) == len(told), "one id never means two things"
    for row in rows(folder, "SELECT manifest_sha256, evidence FROM incidents"):
        records = json.loads(row["evidence"])
        for record in records:
            manifest = folder.root / "data" / "evidence" / record["folder"] / "manifest.json"
            assert record["manifest_sha256"] == hashlib.sha256(manifest.read_bytes()).hexdigest()
        assert row["manifest_sha256"] == records[-1]["manifest_sha256"]
    per_incident = Counter((incident, kind) for _, incident, kind in meaning)
    for row in incidents:
        assert per_incident[(row["id"], "incident.opened")] == 1, row["room"]
        assert per_incident[(row["id"], "incident.resolved")] == 1, row["room"]
        kinds = [receipt.type for receipt in receiver.receipts if receipt.data["incident_id"] == row["id"]]
        assert kinds.index("incident.opened") < kinds.index("incident.resolved"), row["room"]
