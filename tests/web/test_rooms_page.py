"""The page of rooms: how each is doing, where it comes from, and never its key."""

from __future__ import annotations

import html
from dataclasses import replace

import pytest
from support.site import NOW, SECRET_URL, Board, Drawer, Watching, any_address, make_roster

from monitor.errors import StreamReason
from monitor.streams.roster import Origin, Roster, RosterEntry
from monitor.streams.stream import Stream, StreamState, StreamStatus

HOSTILE = "<script>alert(1)</script>"


def room(stream_id: str, **changes: object) -> Stream:
    stream = Stream(id=stream_id, url=SECRET_URL, platform="douyin", account="shop-88", room=f"room-{stream_id}")
    return replace(stream, **changes)  # type: ignore[arg-type]


def status(state: StreamState, reason: StreamReason, detail: str = "") -> StreamStatus:
    return StreamStatus(state=state, reason=reason, since=NOW, detail=detail, sampled_per_s=0.5)


@pytest.fixture
async def busy(site):
    hooked = RosterEntry(stream=room("hooked"), origin=Origin.HOOK, hook="cdn")
    roster = Roster([room("filed", title=HOSTILE)], Drawer({"hooked": hooked}), Watching(), any_address)
    await roster.restore()
    board = Board(
        {
            "filed": status(StreamState.LIVE, StreamReason.RECEIVING),
            "hooked": status(StreamState.BACKING_OFF, StreamReason.NOT_FOUND, f"reading {SECRET_URL}"),
        }
    )
    return replace(site, roster=roster, statuses=board)


async def test_each_room_is_listed_with_its_state_reason_and_origin(browser, busy):
    response, page = await browser.get(busy, "/rooms")
    text = " ".join(html.unescape(page).split())
    assert response.status == 200
    for fact in ("room-filed", "room-hooked", "shop-88", "live", "backing off", "not found", "streams file", "cdn"):
        assert fact in text, fact
    assert "very-secret-key" not in page
    assert "rtmp://live.example.org/***" in page
    assert HOSTILE not in page


async def test_rooms_are_filtered_by_state_and_counted(browser, busy):
    _, page = await browser.get(busy, "/rooms?state=live")
    assert "room-filed" in page
    assert "room-hooked" not in page
    assert "Backing off 1" in page
    _, page = await browser.get(busy, "/rooms?state=ended")
    assert "No room is ended" in page


async def test_a_long_list_has_pages_that_keep_the_filter(browser, site):
    rooms = [room(f"r{number:03}") for number in range(205)]
    board = Board({one.id: status(StreamState.LIVE, StreamReason.RECEIVING) for one in rooms})
    site = replace(site, roster=make_roster(*rooms), statuses=board)
    _, page = await browser.get(site, "/rooms?state=live")
    assert 'href="/rooms?state=live&amp;after=r199"' in page
    assert "http-equiv" in page
    _, page = await browser.get(site, "/rooms?state=live&after=r199")
    assert "r204" in page
    assert "r199</code>" not in page
    assert 'href="/rooms?state=live"' in page
    assert "http-equiv" not in page, "what is looked through does not jump"


async def test_without_any_room_the_page_says_how_to_add_one(browser, site):
    _, page = await browser.get(replace(site, roster=make_roster(), statuses=Board()), "/rooms")
    assert "No room is watched" in page


async def test_every_page_leads_to_the_rooms_and_a_bad_parameter_is_refused(browser, busy):
    _, page = await browser.get(busy, "/")
    assert '<a href="/rooms">Rooms</a>' in page
    response, page = await browser.get(busy, "/rooms?state=alive")
    assert response.status == 400
    assert "connecting, live" in html.unescape(page)
