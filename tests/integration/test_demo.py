"""``monitor demo --once --json``, as a newcomer's script would run it."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path


async def test_the_demo_decides_all_four_rooms_rightly_and_says_so_in_json(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "monitor.cli.main", "demo", "--once", "--json", "--cache-dir", str(tmp_path)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await asyncio.wait_for(process.communicate(), 120)
    rows = [json.loads(line) for line in output.splitlines()]
    assert process.returncode == 0, errors.decode()
    assert [set(row) for row in rows] == [{"room", "verdict", "expected", "similarity", "seconds_to_alert"}] * 4
    verdicts = [row["verdict"] for row in rows]
    assert verdicts == [row["expected"] for row in rows] == ["violation", "permitted", "nothing", "violation"]
    assert all(row["seconds_to_alert"] < 15 for row in rows if row["verdict"] == "violation")
    assert all(row["seconds_to_alert"] is None for row in rows if row["verdict"] != "violation")
    assert rows[2]["similarity"] < 0.34
