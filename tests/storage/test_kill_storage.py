"""A process that writes incidents is killed at random moments."""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import sys
from collections import defaultdict
from pathlib import Path

import pytest

KILLS = 6
WRITER = Path(__file__).with_name("opens_and_closes.py")
REPOSITORY = Path(__file__).parents[2]


async def write_until_killed(url: str) -> list[tuple[str, int]]:
    """What the process said was on disk before it was killed: incident and sequence."""
    path = os.pathsep.join((str(REPOSITORY), str(REPOSITORY / "tests")))
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(WRITER), url, stdout=asyncio.subprocess.PIPE, env=os.environ | {"PYTHONPATH": path}
    )
    assert process.stdout is not None
    assert await asyncio.wait_for(process.stdout.readline(), 30) == b"ready\n"
    said = []
    for _ in range(random.randrange(5, 120)):
        said.append(await asyncio.wait_for(process.stdout.readline(), 30))
    process.kill()
    said += (await process.stdout.read()).splitlines(keepends=True)
    assert await process.wait() == -9
    complete = [line.split() for line in said if line.endswith(b"\n")]
    return [(incident.decode(), int(sequence)) for incident, sequence in complete]


@pytest.mark.timeout(600)
async def test_after_kills_no_incident_is_lost_or_doubled_and_each_transition_has_its_rows(tmp_path: Path) -> None:
    random.seed(9)
    database = tmp_path / "monitor.db"
    said: list[tuple[str, int]] = []
    for _ in range(KILLS):
        said += await write_until_killed(f"sqlite:///{database}")
    connection = sqlite3.connect(database)
    sequences = dict(connection.execute("SELECT id, sequence FROM incidents").fetchall())
    states = connection.execute("SELECT state, count(*) FROM incidents GROUP BY state ORDER BY state").fetchall()
    doubled = connection.execute(
        "SELECT room FROM incidents WHERE state = 'open' "
        "GROUP BY identity_id, platform, account, room HAVING count(*) > 1"
    ).fetchall()
    told = defaultdict(list)
    for incident, receiver, sequence in connection.execute(
        "SELECT incident_id, receiver, sequence FROM outbox ORDER BY sequence"
    ):
        told[incident, receiver].append(sequence)
    lines = dict(connection.execute("SELECT incident_id, count(*) FROM timeline GROUP BY incident_id").fetchall())
    connection.close()

    assert [state for state, _ in states] == ["closed", "open"], "the writer did both"
    assert len(said) > KILLS * 5
    for incident, sequence in said:
        assert sequences.get(incident, -1) >= sequence, "what was said to be on disk is on disk"
    assert doubled == []
    for incident, sequence in sequences.items():
        assert lines[incident] == sequence
        for receiver in ("hook", "am"):
            assert told[incident, receiver] == list(range(1, sequence + 1))
