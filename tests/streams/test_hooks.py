"""Streaming servers' webhook formats, who is believed, and what an event's names may do."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import pytest
from pydantic import ValidationError

from monitor.streams.hook_auth import HookDoubt, SeenCalls, doubt, fingerprint
from monitor.streams.hook_config import HookConfig, HookType
from monitor.streams.hooks import (
    HookCall,
    HookMalformed,
    PublishAction,
    UnsafeName,
    raw_fields,
    read_event,
    room_of,
    stream_id,
)
from monitor.streams.roster import Origin

SECRET = "a-shared-secret-of-the-hook"
NOW = 1_800_000_000.0
URLS = {
    HookType.SRS: "rtmp://10.0.0.5/{app}/{stream}",
    HookType.NGINX_RTMP: "rtmp://10.0.0.5/{app}/{name}",
    HookType.MEDIAMTX: "https://origin.example/{path}/index.m3u8",
    HookType.TENCENT: "https://pull.example/{appname}/{stream_id}.flv",
    HookType.ALIBABA: "https://pull.example/{appname}/{id}.m3u8",
}


def hook(kind: HookType, **changes: Any) -> HookConfig:
    name = {HookType.SRS: "{stream}", HookType.NGINX_RTMP: "{name}", HookType.MEDIAMTX: "{path}"}
    room = name.get(kind, "{stream_id}" if kind is HookType.TENCENT else "{id}")
    fields = {"type": kind, "name": "cdn", "secret": SECRET, "url": URLS[kind], "platform": "own", "account": room}
    return HookConfig.model_validate({**fields, "room": room, **changes})


def call(
    body: object = b"", *, query: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
) -> HookCall:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return HookCall(host="callback.example", query=query or {}, headers=headers or {}, body=data)


def form(*pairs: tuple[str, str]) -> HookCall:
    return call(urlencode(pairs).encode())


def md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


SRS = {
    "action": "on_publish",
    "server_id": "vid-1",
    "client_id": "9308h583",
    "ip": "192.168.1.10",
    "vhost": "__defaultVhost__",
    "app": "live",
    "tcUrl": "rtmp://x/live",
    "stream": "shop-88",
    "param": "?key=theirs",
    "stream_url": "/live/shop-88",
    "stream_id": "vid-124",
}
NGINX = (
    *(("app", "live"), ("flashver", "FMLE/3.0"), ("swfurl", ""), ("tcurl", "rtmp://x/live"), ("pageurl", "")),
    *(("addr", "10.0.0.9"), ("clientid", "7"), ("call", "publish"), ("name", "shop-88"), ("type", "live")),
)
TENCENT = {
    "event_type": 1,
    "t": int(NOW) + 600,
    "sign": md5(f"{SECRET}{int(NOW) + 600}"),
    "app": "push.example.com",
    "appname": "live",
    "stream_id": "shop-88",
    "channel_id": "shop-88",
    "event_time": int(NOW),
    "sequence": "6674468118806626493",
}
ALIBABA = {
    "action": "publish",
    "ip": "10.0.0.9",
    "id": "shop-88",
    "app": "push.example.com",
    "appname": "live",
    "time": str(int(NOW)),
    "usrargs": "a=b",
    "node": "cn1",
    "height": "720",
    "width": "1280",
}
MEDIAMTX = (("MTX_PATH", "live/shop-88"), ("MTX_QUERY", "a=b"), ("MTX_SOURCE_ID", "c7f"), ("action", "available"))


@pytest.mark.parametrize(
    ("kind", "told", "ended", "publisher", "url"),
    [
        (HookType.SRS, call(SRS), call({**SRS, "action": "on_unpublish"}), "9308h583", "rtmp://10.0.0.5/live/shop-88"),
        (
            HookType.NGINX_RTMP,
            form(*NGINX),
            form(*((key, "publish_done" if key == "call" else value) for key, value in NGINX)),
            "7",
            "rtmp://10.0.0.5/live/shop-88",
        ),
        (
            HookType.MEDIAMTX,
            form(*MEDIAMTX),
            form(*MEDIAMTX[:3], ("action", "unavailable")),
            "c7f",
            "https://origin.example/live/shop-88/index.m3u8",
        ),
        (
            HookType.TENCENT,
            call(TENCENT),
            call({**TENCENT, "event_type": 0}),
            "6674468118806626493",
            "https://pull.example/live/shop-88.flv",
        ),
        (
            HookType.ALIBABA,
            call(query=ALIBABA),
            call(query={**ALIBABA, "action": "publish_done"}),
            "",
            "https://pull.example/live/shop-88.m3u8",
        ),
    ],
)
def test_each_servers_events_name_the_same_room_when_it_begins_and_when_it_ends(
    kind: HookType, told: HookCall, ended: HookCall, publisher: str, url: str
) -> None:
    begun, over = (read_event(kind, raw_fields(kind, one)) for one in (told, ended))
    assert begun is not None
    assert over is not None
    assert (begun.action, over.action) == (PublishAction.PUBLISHED, PublishAction.UNPUBLISHED)
    assert begun.publisher == over.publisher == publisher
    room = room_of(hook(kind), begun)
    assert room.stream.url == url
    assert (room.origin, room.hook, room.publisher) == (Origin.HOOK, "cdn", publisher)
    assert room.stream.platform == "own"
    assert room.stream.id == stream_id(hook(kind), over)
    assert room.stream.id.startswith("cdn-")
    assert "shop-88" in room.stream.id


def test_what_a_publisher_appends_to_the_form_does_not_replace_what_the_server_says() -> None:
    event = read_event(
        HookType.NGINX_RTMP, raw_fields(HookType.NGINX_RTMP, form(*NGINX, ("name", "other"), ("call", "play")))
    )
    assert event is not None
    assert event.fields["name"] == "shop-88"


@pytest.mark.parametrize("action", ["on_play", "on_connect", "on_dvr"])
def test_what_is_no_publishing_is_no_event(action: str) -> None:
    assert read_event(HookType.SRS, raw_fields(HookType.SRS, call({**SRS, "action": action}))) is None


@pytest.mark.parametrize(
    ("kind", "sent", "says"),
    [
        (HookType.SRS, call(b"{"), "not JSON"),
        (HookType.SRS, call(b"[" * 10_000), "not JSON"),
        (HookType.SRS, call([1]), "not a JSON object"),
        (HookType.SRS, call({"app": "live"}), "the field action is missing"),
        (HookType.SRS, call({**SRS, "stream": {"a": 1}}), "the field stream is missing"),
        (HookType.NGINX_RTMP, call(b"\xff"), "not a form"),
        (HookType.NGINX_RTMP, call(b"a=1&" * 100), "at most 64"),
        (HookType.NGINX_RTMP, form(("call", "publish"), ("app", "live")), "the field name is missing"),
        (HookType.ALIBABA, call(query={"action": "publish"}), "the field appname is missing"),
    ],
)
def test_a_call_that_is_not_in_the_servers_format_is_refused_by_the_fields_name(
    kind: HookType, sent: HookCall, says: str
) -> None:
    with pytest.raises(HookMalformed, match=says):
        read_event(kind, raw_fields(kind, sent))


@pytest.mark.parametrize(
    "name",
    [
        "../../admin",
        "a/b",
        "a b",
        "a?x=1",
        "a#b",
        "@evil.example",
        "a@evil.example",
        "http://evil.example/x",
        "..",
        ".",
        "a\r\nHost: evil",
        "a\x00",
        "a%2e%2e",
        "{app}",
        "房间",
        "x" * 129,
    ],
)
def test_a_name_that_could_leave_its_place_in_the_address_is_refused(name: str) -> None:
    event = read_event(HookType.NGINX_RTMP, dict(NGINX) | {"name": name})
    assert event is not None
    with pytest.raises(UnsafeName, match="the field name"):
        room_of(hook(HookType.NGINX_RTMP), event)


@pytest.mark.parametrize("path", ["live/../../admin", "/live", "live//x", "a/" * 9 + "a", "live/.."])
def test_a_path_has_safe_parts_only(path: str) -> None:
    event = read_event(HookType.MEDIAMTX, {"action": "ready", "MTX_PATH": path})
    assert event is not None
    with pytest.raises(UnsafeName):
        room_of(hook(HookType.MEDIAMTX), event)


def test_no_two_streams_share_an_id() -> None:
    names = [("a", "b-c"), ("a-b", "c"), ("a-b-c", "c"), ("a", "b.c"), ("a" * 60, "x"), ("a" * 60, "y")]
    ids = set()
    for app, name in names:
        event = read_event(HookType.NGINX_RTMP, {"call": "publish", "app": app, "name": name})
        assert event is not None
        ids.add(room_of(hook(HookType.NGINX_RTMP), event).stream.id)
    assert len(ids) == len(names)
    assert max(map(len, ids)) <= 64


@pytest.mark.parametrize("kind", [HookType.SRS, HookType.NGINX_RTMP, HookType.MEDIAMTX])
@pytest.mark.parametrize(
    ("query", "headers", "expected"),
    [
        ({"secret": SECRET}, {}, None),
        ({}, {"x-hook-secret": SECRET}, None),
        ({"secret": SECRET}, {"x-hook-secret": "wrong"}, HookDoubt.BAD_SECRET),
        ({"secret": SECRET + "x"}, {}, HookDoubt.BAD_SECRET),
        ({"secret": ""}, {}, HookDoubt.BAD_SECRET),
        ({"secret": "\udcff"}, {}, HookDoubt.BAD_SECRET),
        ({}, {}, HookDoubt.BAD_SECRET),
    ],
)
def test_a_shared_secret_is_believed_from_query_or_header(
    kind: HookType, query: dict[str, str], headers: dict[str, str], expected: HookDoubt | None
) -> None:
    assert doubt(hook(kind), call(query=query, headers=headers), {}, now=NOW) is expected


@pytest.mark.parametrize(
    ("ahead_s", "expected"),
    [(600, None), (0, None), (-250, None), (899, None), (-301, HookDoubt.EXPIRED), (901, HookDoubt.EXPIRED)],
)
def test_tencents_signature_is_believed_until_it_expires(ahead_s: int, expected: HookDoubt | None) -> None:
    stamp = str(int(NOW) + ahead_s)
    raw = {"t": stamp, "sign": md5(SECRET + stamp)}
    assert doubt(hook(HookType.TENCENT), call(), raw, now=NOW) is expected


@pytest.mark.parametrize(
    "raw",
    [{}, {"t": str(int(NOW))}, {"t": str(int(NOW)), "sign": md5(f"other{int(NOW)}")}, {"sign": md5(SECRET), "t": ""}],
)
def test_a_wrong_signature_or_one_without_its_time_is_not_believed(raw: dict[str, str]) -> None:
    assert doubt(hook(HookType.TENCENT), call(), raw, now=NOW) is not None


@pytest.mark.parametrize(
    ("domain", "signed_domain", "age_s", "expected"),
    [
        (None, "callback.example", 0, None),
        ("public.example", "public.example", 299, None),
        ("public.example", "callback.example", 0, HookDoubt.BAD_SECRET),
        (None, "callback.example", 301, HookDoubt.EXPIRED),
        (None, "callback.example", -301, HookDoubt.EXPIRED),
    ],
)
def test_alibabas_signature_covers_the_callbacks_host_and_its_time(
    domain: str | None, signed_domain: str, age_s: int, expected: HookDoubt | None
) -> None:
    stamp = str(int(NOW) - age_s)
    headers = {"ali-live-timestamp": stamp, "ali-live-signature": md5(f"{signed_domain}|{stamp}|{SECRET}")}
    assert doubt(hook(HookType.ALIBABA, domain=domain), call(headers=headers), {}, now=NOW) is expected


def test_a_signed_call_counts_once_while_its_signature_is_valid() -> None:
    seen = SeenCalls()
    mark = fingerprint(hook(HookType.TENCENT), call(TENCENT))
    other = fingerprint(hook(HookType.TENCENT), call({**TENCENT, "stream_id": "other"}))
    assert mark is not None
    assert other is not None
    assert seen.is_new(mark, now=0, valid_s=100)
    assert not seen.is_new(mark, now=99, valid_s=100)
    assert seen.is_new(other, now=99, valid_s=100)
    assert seen.is_new(mark, now=101, valid_s=100)
    assert fingerprint(hook(HookType.SRS), call(SRS)) is None, "a shared secret signs nothing: repeats are real"


def test_what_is_remembered_of_signed_calls_is_bounded() -> None:
    seen = SeenCalls()
    for number in range(12_000):
        seen.is_new(number.to_bytes(4), now=0, valid_s=100)
    assert len(seen._seen) <= 10_001


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"url": "rtmp://{app}/{name}"}, "may not choose the host"),
        ({"url": "rtmp://{app}@10.0.0.5/{name}"}, "may not choose the host"),
        ({"url": "rtmp://10.0.0.5:{app}/{name}"}, "may not choose the host"),
        ({"url": "{app}://10.0.0.5/{name}"}, "must be an address of the network"),
        ({"url": "file:///srv/{name}"}, "must be an address of the network"),
        ({"url": "/srv/{name}"}, "must be an address of the network"),
        ({"url": "rtmp://10.0.0.5/{name.__class__}"}, "only a plain name"),
        ({"url": "rtmp://10.0.0.5/{name!r}"}, "only a plain name"),
        ({"url": "rtmp://10.0.0.5/{0}"}, "only a plain name"),
        ({"room": "{stream}"}, r"\{stream\} is no field of nginx-rtmp; allowed: app, name"),
        ({"account": "{"}, "account"),
        ({"secret": "short"}, "at least 16 characters"),
        ({"name": "Has Spaces"}, "name"),
        ({"forget_after_s": 1}, "forget_after_s"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_hook_that_would_give_the_publisher_power_is_refused_at_start(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says) as refused:
        hook(HookType.NGINX_RTMP, **changes)
    assert SECRET not in str(refused.value)
