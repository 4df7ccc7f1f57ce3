"""A process that escalates incidents is killed at random moments: whatever is told has its evidence."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from monitor.sightings.presence import Presence

KILLS = 8
WRITER = Path(__file__).with_name("escalates.py")
REPOSITORY = Path(__file__).parents[2]


async def write_until_killed(folder: Path) -> list[tuple[str, int]]:
    """What the process said was on disk before it was killed: incident, and how many evidences it has."""
    path = os.pathsep.join((str(REPOSITORY), str(REPOSITORY / "tests")))
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(WRITER), str(folder), stdout=asyncio.subprocess.PIPE, env=os.environ | {"PYTHONPATH": path}
    )
    assert process.stdout is not None
    assert await asyncio.wait_for(process.stdout.readline(), 30) == b"ready\n"
    said = [await asyncio.wait_for(process.stdout.readline(), 30) for _ in range(random.randrange(5, 80))]
    process.kill()
    said += (await process.stdout.read()).splitlines(keepends=True)
    assert await process.wait() == -9
    complete = [line.split() for line in said if line.endswith(b"\n")]
    return [(incident.decode(), int(count)) for incident, count in complete]


@pytest.mark.timeout(600)
async def test_after_kills_every_evidence_that_was_noted_is_on_disk_and_every_escalation_told_has_its_own(
    tmp_path: Path,
) -> None:
    random.seed(11)
    said: list[tuple[str, int]] = []
    for _ in range(KILLS):
        said += await write_until_killed(tmp_path)
    with closing(sqlite3.connect(tmp_path / "monitor.db")) as connection:
        rows = connection.execute("SELECT id, evidence, manifest_sha256, presence FROM incidents").fetchall()
        alerts = [json.loads(alert) for (alert,) in connection.execute("SELECT alert FROM outbox")]
    evidence = {}
    for incident, text, newest, presence in rows:
        records = evidence[incident] = json.loads(text)
        strengths = [Presence(record["presence"]).strength for record in records]
        assert strengths == sorted(set(strengths)), "each is more prominent than the one before"
        assert (records[-1]["manifest_sha256"], records[-1]["presence"]) == (newest, presence)
        for record in records:
            manifest = (tmp_path / "evidence" / record["folder"] / "manifest.json").read_bytes()
            assert hashlib.sha256(manifest).hexdigest() == record["manifest_sha256"]
            assert json.loads(manifest)["sighting"]["presence"] == record["presence"]
    assert len(said) > KILLS * 5
    for incident, count in said:
        assert len(evidence[incident]) >= count, "what was said to be on disk is on disk"
    told = [alert for alert in alerts if alert["transition"] in ("opened", "escalated")]
    assert any(alert["transition"] == "escalated" for alert in told)
    frames = {alert["links"]["frame"].split("/")[-2] for alert in told}
    assert frames == {record["folder"] for records in evidence.values() for record in records}
    assert len(frames) == len(told), "each transition has pictures of its own"
