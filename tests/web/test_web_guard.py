"""Who is answered, and what every answer carries."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest
from support.site import make_incident

from monitor.web.config import WebConfig
from monitor.web.guard import host_is_allowed


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz", "/metrics", "/api/v1/streams", "/no", "/static/icon.svg"])
async def test_every_answer_carries_the_security_headers(browser, site, path):
    response, _ = await browser.get(site, path)
    assert response.headers["Content-Security-Policy"].startswith("default-src 'self';")
    assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"]
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert response.headers["X-Frame-Options"] == "DENY"
    assert response.headers["Server"] == "likeness-monitor"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "[::2]", "a@b:c", "["])
async def test_a_foreign_host_name_is_refused_on_loopback(browser, site, shelf, host):
    shelf.incidents = [make_incident()]
    for path in ("/", "/api/v1/incidents", "/metrics", "/static/style.css"):
        response, text = await browser.get(site, path, headers={"Host": host})
        assert response.status in (400, 421)
        assert "Obama" not in text


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:8080", "[::1]:8080", "watch.example.org"])
async def test_our_own_names_are_answered(browser, site, host):
    config = WebConfig(port=0, base_url="https://watch.example.org")
    response, _ = await browser.get(replace(site, config=config), "/healthz", headers={"Host": host})
    assert response.status == 200


def test_beyond_loopback_the_proxy_in_front_decides():
    assert host_is_allowed(WebConfig(host="0.0.0.0"), "anything.example")


def test_a_request_without_host_is_refused_on_loopback():
    assert not host_is_allowed(WebConfig(), None)
    assert not host_is_allowed(WebConfig(), "")


async def test_errors_are_json_under_api_and_a_page_elsewhere(browser, site):
    response, text = await browser.get(site, "/api/v1/nothing")
    assert response.status == 404
    assert json.loads(text)["error"]["status"] == 404
    response, text = await browser.get(site, "/nothing")
    assert (response.status, response.content_type) == (404, "text/html")
    assert "there is nothing at this address" in text


async def test_nothing_can_be_written(browser, site):
    server = await browser.open(site)
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        async with browser.session.request(method, server.url + "/api/v1/incidents", data=b"x" * 10) as response:
            assert response.status == 405
            assert response.headers["Allow"] == "GET,HEAD"


async def test_the_bad_parameter_of_a_page_is_escaped_in_its_error(browser, site):
    response, text = await browser.get(site, "/?show=%3Cscript%3Ealert(1)%3C/script%3E")
    assert response.status == 400
    assert "<script>" not in text
    assert "violations, permitted, all" in text


@pytest.mark.parametrize(
    "said", [b"\x16\x03\x01\x02\x00\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n"]
)
async def test_what_is_no_proper_request_is_refused_without_insides(browser, site, said):
    server = await browser.open(site)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(said)
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    await writer.wait_closed()
    assert answer.split()[1] in (b"400", b"421")
    assert b"Traceback" not in answer
    assert b".py" not in answer
