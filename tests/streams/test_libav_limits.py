"""A few bytes cannot make libav take a gigabyte."""

from __future__ import annotations

import os
import subprocess
import sys

from support.video import fmp4_segments

HUNGRY = """
import sys
from support.peak_memory import peak_memory
from monitor.clock import SystemClock
from monitor.errors import StreamError
from monitor.streams.libav_limits import bounded_allocations
from monitor.streams.segment import demux_segment
try:
    with bounded_allocations():
        demux_segment(sys.stdin.buffer.read(), SystemClock(), SystemClock().utc())
except StreamError as error:
    print(error.reason, peak_memory())
"""


def boast(segment: bytes, samples: int) -> bytes:
    """A fragment whose table of samples (ISO 14496-12, 8.8.8) has no fields, so that no byte of it need be there."""
    at = segment.index(b"trun")
    return segment[: at + 4] + bytes(4) + samples.to_bytes(4) + segment[at + 12 :]


def test_an_index_that_is_announced_and_not_there_takes_no_memory() -> None:
    init, parts = fmp4_segments(seconds=1)
    data = boast(init + parts[0], 20_000_000)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", HUNGRY], input=data, capture_output=True, timeout=60, check=True, env=env
    )
    reason, rss = done.stdout.split()
    assert reason == b"bad_data"
    assert int(rss) < 250 * 2**20
