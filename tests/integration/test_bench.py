"""``monitor bench latency`` prints what scripts read, and the aims hold with room to spare."""

from __future__ import annotations

import asyncio
import json
import sys

import pytest


@pytest.mark.timeout(150)
async def test_latency_is_measured_for_every_kind_and_within_its_aim() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "monitor.cli.main", "bench", "latency", "--quick", "--json"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await asyncio.wait_for(process.communicate(), 140)
    assert process.returncode == 0, errors.decode()
    assert "Traceback" not in errors.decode()
    rows = {row["kind"]: row for row in json.loads(output)["rows"]}
    assert set(rows) == {"rtmp", "http-flv", "hls"}
    for kind, aim in {"rtmp": 5.0, "http-flv": 5.0, "hls": 7.0}.items():
        assert set(rows[kind]) == {"kind", "rooms", "p50_s", "p95_s"}
        assert 2.0 < rows[kind]["p50_s"] <= rows[kind]["p95_s"] < aim, "evidence alone takes two seconds"
