"""A site over plain lists, and a browser that starts real servers on free ports."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest
from prometheus_client import CollectorRegistry
from support.site import NOW, SECRET_URL, Board, Browser, Shelf, make_roster

from monitor.clock import ManualClock
from monitor.errors import StreamReason
from monitor.streams.stream import Stream, StreamState, StreamStatus
from monitor.web.config import WebConfig
from monitor.web.readiness import Watch
from monitor.web.site import Site


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def site(shelf: Shelf, tmp_path: Path) -> Site:
    stream = Stream(id="douyin-8841", url=SECRET_URL, platform="douyin", account="shop-88", room="8841")
    status = StreamStatus(
        state=StreamState.LIVE, reason=StreamReason.RECEIVING, since=NOW, detail=f"reading {SECRET_URL}"
    )
    return Site(
        config=WebConfig(port=0),
        roster=make_roster(stream),
        statuses=Board({"douyin-8841": status}),
        incidents=shelf,
        probes=[],
        watch=lambda: Watch(streams=1, identities=1, receivers=1),
        registry=CollectorRegistry(),
        evidence_folder=tmp_path / "evidence",
        clock=ManualClock(now=NOW),
    )


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())
        yield Browser(stack, session)
