"""Listening: the real port, a port in use, and stopping."""

from __future__ import annotations

import errno
import socket
from contextlib import AsyncExitStack

import aiohttp
import pytest

from monitor.errors import ConfigError
from monitor.web.app import build_app
from monitor.web.config import WebConfig
from monitor.web.server import WebServer, listen_error


async def test_port_nought_takes_a_free_port_that_can_be_read(browser, site):
    server = await browser.open(site)
    assert server.port > 0
    assert server.url == f"http://127.0.0.1:{server.port}"
    async with browser.session.get(server.url + "/healthz") as response:
        assert response.status == 200


async def test_base_url_is_what_links_are_made_of(site):
    server = WebServer(build_app(site), WebConfig(port=0, base_url="https://watch.example.org/"))
    assert server.url == "https://watch.example.org"


async def test_a_port_in_use_is_an_error_that_names_it_and_the_remedy(site):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"web\.port: {port} on 127\.0\.0\.1 is used by another program; .*port"):
            await WebServer(build_app(site), WebConfig(port=port)).start()


@pytest.mark.parametrize("host", ["192.0.2.1", "a..b"])
async def test_a_host_that_is_not_this_machine_is_an_error_that_names_it(site, host):
    with pytest.raises(ConfigError, match=r"web\.host"):
        await WebServer(build_app(site), WebConfig(host=host, port=0)).start()


def test_a_port_that_needs_more_rights_is_told_apart():
    err = PermissionError(errno.EACCES, "Permission denied")
    assert "web.port: 80 may not be listened on" in str(listen_error(WebConfig(port=80), err))


async def test_after_the_stack_closes_nobody_listens(site):
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(WebServer(build_app(site), site.config))
        url = server.url
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(url + "/healthz")


async def test_ipv6_loopback_is_served(site, browser):
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    try:
        server = await browser._stack.enter_async_context(
            WebServer(build_app(site), WebConfig(host="::1", port=0))
        )
    except ConfigError:
        pytest.skip("this machine has no IPv6 loopback")
    assert server.url == f"http://[::1]:{server.port}"
    async with browser.session.get(server.url + "/healthz") as response:
        assert response.status == 200
