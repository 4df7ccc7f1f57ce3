"""Whatever a playlist, a redirect or a literal address says: no inner address is reached, and requests are few."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from support.hls import HttpServer, http_server, playlist
from support.video import clip_bytes
from support.watching import LOOPBACK, QUICK, make_stream, until, watching

from monitor.clock import SystemClock
from monitor.errors import AddressRefused, StreamError, StreamReason
from monitor.streams.budget import Budget
from monitor.streams.config import NetworkConfig
from monitor.streams.guard import AddressGuard
from monitor.streams.http import GuardedHttp
from monitor.streams.stream import StreamState

MASTER = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1000,RESOLUTION=640x360\n{}\n"


@pytest.fixture
async def inner() -> AsyncIterator[HttpServer]:
    """What must not be reached: a server on 127.0.0.1, while nothing of loopback is allowed."""
    async with http_server() as running:
        running.serve("/secret", b"secret")
        yield running


class Names:
    """A resolver that gives each name its next answer; the last one stands."""

    def __init__(self, **answers: list[str]) -> None:
        self._answers = {name.replace("_", "."): list(addresses) for name, addresses in answers.items()}
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        self.asked.append(host)
        answers = self._answers[host]
        address = answers.pop(0) if len(answers) > 1 else answers[0]
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        return [(family, socket.SOCK_STREAM, 6, "", (address, port))]


@pytest.mark.parametrize(
    "host", ["[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "2130706433", "0x7f.1", "127.1", "0177.0.0.1", "localhost"]
)
async def test_every_way_to_write_loopback_is_refused_before_anything_is_sent(inner: HttpServer, host: str) -> None:
    port = inner.base.rpartition(":")[2]
    async with GuardedHttp(AddressGuard(NetworkConfig()), open_timeout_s=2) as http:
        with pytest.raises(StreamError) as refused:
            await http.fetch(f"http://{host}:{port}/secret", max_bytes=100, timeout_s=2)
    assert refused.value.reason in (StreamReason.ADDRESS_REFUSED, StreamReason.UNRESOLVED)
    assert inner.requests == {}


async def test_a_name_that_rebinds_between_any_two_requests_never_leads_inside(
    inner: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = int(inner.base.rpartition(":")[2])
    guard = AddressGuard(NetworkConfig())
    for good_answers in range(3):
        names = Names(rebind_example=["203.0.114.1"] * good_answers + ["127.0.0.1"])
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", names)
        async with GuardedHttp(guard, open_timeout_s=0.3) as http:
            for _ in range(2):
                with pytest.raises(StreamError):
                    await http.fetch(f"http://rebind.example:{port}/secret", max_bytes=100, timeout_s=0.3)
        assert names.asked
    assert inner.requests == {}


async def test_a_name_with_an_inner_and_a_public_address_is_only_connected_to_at_the_public_one() -> None:
    guard = AddressGuard(NetworkConfig())

    async def both(*_: object, **__: object) -> list[tuple[object, ...]]:
        return [(socket.AF_INET, 1, 6, "", (address, 80)) for address in ("10.0.0.1", "1.1.1.1")]

    asyncio.get_running_loop().getaddrinfo = both  # type: ignore[method-assign,assignment]
    assert [str(address) for address in await guard.check("http://both.example/")] == ["1.1.1.1"]


async def test_a_chain_of_redirects_is_followed_for_a_few_steps_only(server: HttpServer) -> None:
    async def onwards(request: web.Request) -> web.Response:
        step = int(request.path.rpartition("/")[2])
        if step >= 100:
            return web.Response(text=playlist(["s.ts"]))
        return web.Response(status=302, headers={"Location": f"/chain/{step + 1}"})

    for step in range(101):
        server.route(f"/chain/{step}", onwards)
    async with GuardedHttp(AddressGuard(LOOPBACK), open_timeout_s=2) as http:
        with pytest.raises(StreamError, match="redirects"):
            await http.fetch(server.url("/chain/0"), max_bytes=1_000, timeout_s=2)
        assert sum(server.requests.values()) == 6
        assert (await http.fetch(server.url("/chain/97"), max_bytes=1_000, timeout_s=2)).body.startswith(b"#EXTM3U")


async def test_a_redirect_inside_is_refused_at_whatever_step_it_comes(server: HttpServer, inner: HttpServer) -> None:
    refused = inner.url("/secret").replace("127.0.0.1", "127.0.0.2")

    async def first(_: web.Request) -> web.Response:
        return web.Response(status=307, headers={"Location": server.url("/second")})

    async def second(_: web.Request) -> web.Response:
        return web.Response(status=301, headers={"Location": refused})

    server.route("/second", second)
    async with GuardedHttp(AddressGuard(NetworkConfig(allow=("127.0.0.1/32",))), open_timeout_s=2) as http:
        with pytest.raises(AddressRefused):
            await http.fetch(server.route("/first", first), max_bytes=1_000, timeout_s=2)
    assert inner.requests == {}


LOOPS = {
    "a master whose rendition is itself": MASTER.format("index.m3u8"),
    "a media playlist whose segments are itself": playlist(["index.m3u8"] * 50),
    "a recording of segments that last no time": playlist(["s.ts"] * 5_000, segment_s=0.0, ended=True),
    "a playlist whose init section is itself": playlist(["index.m3u8"] * 50, init="index.m3u8"),
}


@pytest.mark.parametrize("text", LOOPS.values(), ids=LOOPS.keys())
async def test_no_playlist_causes_more_requests_than_its_stream_is_allowed(server: HttpServer, text: str) -> None:
    server.serve("/loop/s.ts", clip_bytes(seconds=0.3, container="mpegts"))
    url = server.serve("/loop/index.m3u8", text)
    config = QUICK.model_copy(update={"opens_per_minute": 10, "backoff_initial_s": 0.05, "backoff_max_s": 0.1})
    async with watching(make_stream(url), config=config) as watch:
        begun = time.monotonic()
        await until(lambda: watch.metric("monitor_stream_failures_total", reason="over_budget") > 0)
        passed = time.monotonic() - begun
    assert sum(server.requests.values()) <= 10 + 10 / 60 * passed + 1


async def test_a_room_that_sends_more_than_it_may_is_cut_off_and_the_reason_is_named(server: HttpServer) -> None:
    sent = 0
    whole = clip_bytes(seconds=10, gop=5, container="flv", live=True, width=640, height=480)
    tags = whole[13:]

    async def flood(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse(headers={"Content-Type": "video/x-flv"})
        await response.prepare(request)
        await response.write(whole)
        while True:
            await response.write(tags)
            sent += len(tags)

    config = QUICK.model_copy(update={"bytes_per_minute": 1_000_000, "backoff_initial_s": 5.0})
    async with watching(make_stream(server.route("/room.flv", flood)), config=config) as watch:
        await until(lambda: watch.metric("monitor_stream_failures_total", reason="over_budget") >= 1)
        assert watch.status().bytes_received < 4_000_000
        assert watch.status().state in (StreamState.BACKING_OFF, StreamState.CONNECTING)


async def test_a_key_at_an_inner_address_is_never_asked_for(server: HttpServer, inner: HttpServer) -> None:
    key = inner.url("/secret").replace("127.0.0.1", "127.0.0.2")
    server.serve("/k/s.ts", b"x" * 1_600)
    head = playlist([]) + f'#EXT-X-KEY:METHOD=AES-128,URI="{key}"\n#EXTINF:1,\ns.ts\n'
    only_first = NetworkConfig(allow=("127.0.0.1/32",))
    async with watching(make_stream(server.serve("/k/index.m3u8", head)), network=only_first) as watch:
        assert (await watch.state(StreamState.ENDED)).reason is StreamReason.ADDRESS_REFUSED
    assert inner.requests == {}


async def test_fetching_is_charged_in_requests_and_in_bytes(server: HttpServer) -> None:
    url = server.serve("/a", b"x" * 1_000)
    budget = Budget(opens=3, received_bytes=10_000_000, clock=SystemClock())
    async with GuardedHttp(AddressGuard(LOOPBACK), open_timeout_s=2) as http:
        for _ in range(3):
            await http.within(budget).fetch(url, max_bytes=10_000, timeout_s=2)
        with pytest.raises(StreamError, match="more than 3 requests a minute") as refused:
            await http.within(budget).fetch(url, max_bytes=10_000, timeout_s=2)
        assert refused.value.reason is StreamReason.OVER_BUDGET
        assert refused.value.retryable
        poor = Budget(opens=100, received_bytes=1_500, clock=SystemClock())
        for _ in range(2):
            await http.within(poor).fetch(url, max_bytes=10_000, timeout_s=2)
        with pytest.raises(StreamError, match="more than 1500 bytes a minute"):
            await http.within(poor).fetch(url, max_bytes=10_000, timeout_s=2)
        await http.fetch(url, max_bytes=10_000, timeout_s=2)
    assert server.requests["/a"] == 7
