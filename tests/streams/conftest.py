"""Real clips and servers for the streams' tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.hls import HttpServer, http_server
from support.video import ts_segments


@pytest.fixture
async def server() -> AsyncIterator[HttpServer]:
    async with http_server() as running:
        yield running


@pytest.fixture(scope="session")
def segments() -> list[bytes]:
    """Thirty seconds in segments of one second, a keyframe each half second."""
    return ts_segments(seconds=30, gop=5)


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for clips that several tests share."""
    return tmp_path_factory.mktemp("clips")
