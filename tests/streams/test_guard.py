"""The address guard: which addresses, redirects, segments and files may be read."""

from __future__ import annotations

import asyncio
import socket
from ipaddress import ip_address
from pathlib import Path

import pytest
from aiohttp import web
from support.hls import HttpServer, LiveHls, playlist
from support.watching import LOOPBACK, make_stream, watching

from monitor.errors import AddressRefused, StreamError, StreamReason
from monitor.streams.config import NetworkConfig
from monitor.streams.guard import AddressGuard
from monitor.streams.http import GuardedHttp
from monitor.streams.stream import StreamState

STRICT = NetworkConfig()

INTERNAL = [
    "10.0.0.1",
    "172.16.3.4",
    "192.168.1.1",
    "127.0.0.1",
    "127.255.0.1",
    "0.0.0.0",
    "::1",
    "::",
    "169.254.169.254",
    "fe80::1",
    "100.64.0.1",
    "198.18.0.1",
    "192.0.2.1",
    "240.0.0.1",
    "255.255.255.255",
    "fc00::1",
    "fd12::1",
    "224.0.0.1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "2001:0:7f00:1::",
    "fec0::1",
    "64:ff9b:1::7f00:1",
    "::127.0.0.1",
    "::ffff:0:127.0.0.1",
]


@pytest.mark.parametrize("address", INTERNAL)
def test_internal_addresses_are_refused(address: str) -> None:
    assert not AddressGuard(STRICT).permits(ip_address(address))


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.215.14", "2606:4700::1111", "64:ff9b::101:101"])
def test_public_addresses_are_allowed(address: str) -> None:
    assert AddressGuard(STRICT).permits(ip_address(address))


def test_a_listed_network_is_allowed_and_its_neighbour_is_not() -> None:
    guard = AddressGuard(NetworkConfig(allow=("10.1.0.0/16", "fd00:1::/32")))
    assert guard.permits(ip_address("10.1.2.3"))
    assert guard.permits(ip_address("::ffff:10.1.2.3"))
    assert guard.permits(ip_address("fd00:1::5"))
    assert not guard.permits(ip_address("10.2.0.1"))


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/a.m3u8",
        "http://localhost/a.m3u8",
        "http://[::1]/a.m3u8",
        "http://[::ffff:127.0.0.1]/a",
        "http://127.1/a",
        "http://2130706433/a",
        "http://0x7f000001/a",
        "http://0177.0.0.1/a",
        "rtmp://192.168.0.10/live/a",
        "http://169.254.169.254/latest/meta-data",
    ],
)
async def test_every_spelling_of_an_internal_host_is_refused(url: str) -> None:
    with pytest.raises(AddressRefused):
        await AddressGuard(STRICT).check(url)


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://1.1.1.1/a", "gopher://1.1.1.1/", "data:,x", "/etc/passwd"]
)
async def test_schemes_that_are_not_of_streams_are_refused(url: str) -> None:
    with pytest.raises(AddressRefused, match="allowed: http, https, rtmp, rtmps"):
        await AddressGuard(STRICT).check(url)


async def test_the_refusal_says_what_to_change() -> None:
    with pytest.raises(AddressRefused, match=r"127\.0\.0\.1.* not public; .* network\.allow"):
        await AddressGuard(STRICT).check("http://127.0.0.1/a")


async def test_a_name_without_an_address_is_unresolved() -> None:
    with pytest.raises(StreamError) as failed:
        await AddressGuard(STRICT).check("http://nowhere.invalid/a")
    assert failed.value.reason is StreamReason.UNRESOLVED
    assert failed.value.retryable


async def test_a_name_that_changes_its_answer_is_connected_to_only_where_it_was_checked(
    server: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.serve("/secret", b"secret", headers={"Connection": "close"})
    port = int(server.base.rpartition(":")[2])
    answers = ["127.0.0.1", "127.0.0.2"]

    async def rebinding(*_: object, **__: object) -> list[tuple[object, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answers.pop(0), port))]

    only_first = NetworkConfig(allow=("127.0.0.1/32",))
    async with GuardedHttp(AddressGuard(only_first), open_timeout_s=2) as http:
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", rebinding)
        url = f"http://rebind.example:{port}/secret"
        assert (await http.fetch(url, max_bytes=100, timeout_s=2)).body == b"secret"
        # One answer for the check and for the connection: there is no second one that could differ.
        assert answers == ["127.0.0.2"]
        with pytest.raises(AddressRefused):
            await http.fetch(url, max_bytes=100, timeout_s=2)
    assert server.requests == {"/secret": 1}


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "localhost",
        "%31%32%37.0.0.1",
        "\u2460\u2461\u2466.0.0.1",
        "\uff11\uff12\uff17.0.0.1",
        "127\u30020\u30020\u30021",
    ],
)
async def test_no_spelling_of_an_internal_host_is_connected_to(server: HttpServer, host: str) -> None:
    port = server.base.rpartition(":")[2]
    server.serve("/secret", b"secret")
    async with GuardedHttp(AddressGuard(STRICT), open_timeout_s=2) as http:
        with pytest.raises(StreamError) as refused:
            await http.fetch(f"http://{host}:{port}/secret", max_bytes=100, timeout_s=2)
    assert refused.value.reason in (StreamReason.ADDRESS_REFUSED, StreamReason.UNRESOLVED, StreamReason.UNSUPPORTED)
    assert server.requests == {}


async def test_a_redirect_to_loopback_is_refused_and_nothing_is_requested_there(server: HttpServer) -> None:
    inner = server.serve("/inner.m3u8", b"#EXTM3U\n")
    refused = inner.replace("127.0.0.1", "127.0.0.2")

    async def redirect(_: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": refused})

    only_first = NetworkConfig(allow=("127.0.0.1/32",))
    async with watching(make_stream(server.route("/start.m3u8", redirect)), network=only_first) as watch:
        status = await watch.state(StreamState.ENDED)
        assert status.reason is StreamReason.ADDRESS_REFUSED
        assert "/inner.m3u8" not in server.requests


@pytest.mark.parametrize("inner", ["http://127.0.0.2:{port}/s.ts", "file:///etc/passwd", "http://169.254.169.254/s.ts"])
async def test_a_playlist_whose_segment_points_inside_is_refused(server: HttpServer, inner: str) -> None:
    server.serve("/s.ts", b"x")
    text = playlist([inner.format(port=server.base.rpartition(":")[2])])
    only_first = NetworkConfig(allow=("127.0.0.1/32",))
    async with watching(make_stream(server.serve("/p.m3u8", text)), network=only_first) as watch:
        assert (await watch.state(StreamState.ENDED)).reason is StreamReason.ADDRESS_REFUSED
        assert "/s.ts" not in server.requests


@pytest.mark.parametrize("tag", ['#EXT-X-MAP:URI="{inner}"', "#EXT-X-STREAM-INF:BANDWIDTH=1\n{inner}"])
async def test_an_init_section_or_a_rendition_that_points_inside_is_refused(server: HttpServer, tag: str) -> None:
    inner = server.serve("/inner", b"x").replace("127.0.0.1", "127.0.0.2")
    body = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n" + tag.format(inner=inner)
    text = body if "STREAM-INF" in tag else body + "\n#EXTINF:1,\n/s.m4s\n"
    only_first = NetworkConfig(allow=("127.0.0.1/32",))
    async with watching(make_stream(server.serve("/p.m3u8", text)), network=only_first) as watch:
        assert (await watch.state(StreamState.ENDED)).reason is StreamReason.ADDRESS_REFUSED
        assert "/inner" not in server.requests


@pytest.mark.parametrize("url", ["rtmp://127.0.0.1/live/a", "http://127.0.0.1/a.flv", "http://127.0.0.1/a.m3u8"])
async def test_a_stream_at_an_internal_address_ends_with_the_remedy(url: str) -> None:
    async with watching(make_stream(url), network=STRICT) as watch:
        status = await watch.state(StreamState.ENDED)
        assert status.reason is StreamReason.ADDRESS_REFUSED
        assert "network.allow" in status.detail


async def test_a_refused_room_is_looked_at_again_so_that_a_passing_trick_does_not_hide_it(
    server: HttpServer, segments: list[bytes]
) -> None:
    url = server.serve("/live/index.m3u8", playlist(["http://10.0.0.1/s.ts"]))
    async with watching(make_stream(url)) as watch:
        await watch.state(StreamState.ENDED)
        LiveHls(server, segments)
        await watch.state(StreamState.LIVE)


async def test_files_are_read_only_from_the_listed_folders(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    for folder in (inside, outside):
        folder.mkdir()
        (folder / "a.mp4").touch()
    (inside / "link.mp4").symlink_to(outside / "a.mp4")
    guard = AddressGuard(NetworkConfig(allow_files=(inside,)))
    assert guard.check_file(str(inside / "a.mp4")) == inside / "a.mp4"
    assert guard.check_file(f"file://{inside}/a.mp4") == inside / "a.mp4"
    for url in (outside / "a.mp4", inside / ".." / "out" / "a.mp4", inside / "link.mp4", "file:///etc/passwd"):
        with pytest.raises(AddressRefused, match=r"network\.allow_files"):
            guard.check_file(str(url))


async def test_a_file_stream_outside_the_listed_folders_ends(tmp_path: Path) -> None:
    async with watching(make_stream(str(tmp_path / "a.mp4")), network=LOOPBACK) as watch:
        assert (await watch.state(StreamState.ENDED)).reason is StreamReason.ADDRESS_REFUSED


def test_a_network_that_is_none_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"'10\.0\.0\.300/8' is not a network; allowed: CIDR"):
        NetworkConfig(allow=("10.0.0.300/8",))
