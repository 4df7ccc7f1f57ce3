"""Listening: the real port, a port in use, and stopping."""

from __future__ import annotations

import asyncio
import errno
import re
import socket
from contextlib import AsyncExitStack
from dataclasses import replace

import aiohttp
import pytest
from blockbuster import blockbuster_ctx
from support.site import door, make_incident

from monitor.errors import ConfigError
from monitor.web.app import build_app
from monitor.web.config import WebConfig
from monitor.web.server import WebServer, listening_socket


async def test_port_nought_takes_a_free_port_that_can_be_read(browser, site):
    server = await browser.open(site)
    assert server.port > 0
    assert server.url == f"http://127.0.0.1:{server.port}"
    async with browser.session.get(server.url + "/healthz") as response:
        assert response.status == 200


async def test_the_address_is_known_before_there_is_anything_to_show():
    server = WebServer(WebConfig(port=0))
    server.bind()
    try:
        assert server.port > 0
        assert server.url == f"http://127.0.0.1:{server.port}"
    finally:
        await server.aclose()


def test_base_url_is_what_links_are_made_of():
    assert WebServer(WebConfig(base_url="https://watch.example.org/")).url == "https://watch.example.org"


def test_a_port_in_use_is_an_error_that_names_it_and_the_remedy():
    with listening_socket(WebConfig(port=0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"web\.port: {port} on 127\.0\.0\.1 is used by another program; .*port"):
            WebServer(WebConfig(port=port)).bind()


@pytest.mark.parametrize("host", ["192.0.2.1", "a..b"])
def test_a_host_that_is_not_this_machine_is_an_error_that_names_it(host):
    with pytest.raises(ConfigError, match=r"web\.host: .* is no address of this machine"):
        WebServer(WebConfig(host=host, port=0)).bind()


@pytest.mark.parametrize(
    ("err", "words"),
    [
        (PermissionError(errno.EACCES, "Permission denied"), "web.port: 80 may not be listened on by this user"),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "is no address of this machine"),
        (OSError(errno.ENOBUFS, "No buffer space"), "cannot listen on 127.0.0.1 port 80: "),
    ],
)
def test_other_reasons_are_told_apart(monkeypatch, err, words):
    def refuse(*args: object, **options: object) -> None:
        raise err

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    with pytest.raises(ConfigError, match=re.escape(words)):
        WebServer(WebConfig(port=80)).bind()


async def test_who_connects_before_there_is_anything_to_show_waits_for_it(site):
    server = WebServer(site.config)
    server.bind()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(server.aclose)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        asked = asyncio.create_task(session.get(server.url + "/healthz"))
        await asyncio.sleep(0)
        await server.serve(build_app(site, door(site)))
        async with await asked as response:
            assert response.status == 200


async def test_after_closing_nobody_listens_and_closing_again_is_harmless(site):
    server = WebServer(site.config)
    await server.serve(build_app(site, door(site)))
    url = server.url
    await server.aclose()
    await server.aclose()
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(url + "/healthz")


async def test_ipv6_loopback_is_served(site, browser):
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    try:
        server = await browser.open(replace(site, config=WebConfig(host="::1", port=0)))
    except ConfigError:
        pytest.skip("this machine has no IPv6 loopback")
    assert server.url == f"http://[::1]:{server.port}"
    async with browser.session.get(server.url + "/healthz") as response:
        assert response.status == 200


async def test_answering_never_blocks_the_event_loop(site, browser, shelf):
    shelf.incidents = [make_incident(number, manifest_sha256="ab" * 32) for number in (1, 2)]
    folder = site.evidence_folder / shelf.incidents[0].id
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text("{}")
    (folder / "crop.jpg").write_bytes(b"picture")
    incident = shelf.incidents[0].id
    server = await browser.open(site)
    with blockbuster_ctx("monitor"):
        for path in (
            *("/", f"/incidents/{incident}", f"/evidence/{incident}/crop.jpg", "/static/style.css", "/nope"),
            *("/readyz", "/metrics", "/api/v1/streams", "/api/v1/incidents"),
        ):
            async with browser.session.get(server.url + path) as response:
                assert response.status == (404 if path == "/nope" else 200), path
