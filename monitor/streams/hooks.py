"""The webhook formats of streaming servers, read into one noun. Pure: nothing here asks a network or a clock.

What names a stream is chosen by whoever publishes it: an attacker, for all we know.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qsl

from monitor.streams.catalogue import read_entry
from monitor.streams.hook_config import HOOK_FIELDS, HookConfig, HookType
from monitor.streams.roster import Origin, RosterEntry

MOST_BYTES = 16_384
_MOST_FIELDS = 64
# What stands for itself in a path and means nothing to a shell, a URL or a log.
_SAFE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._~=-]{0,127}")
_SLUG = re.compile(r"[^A-Za-z0-9._-]+")
_PUBLISHER_CHARS = 128


class HookMalformed(ValueError):
    """A call is not what the server's format says; the message holds nothing of it but names."""


class UnsafeName(ValueError):
    """An event's field holds characters that may not go into an address; the message names the field."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HookCall:
    """One HTTP request to a hook."""

    host: str
    """The host that was asked, without port."""
    query: Mapping[str, str] = field(repr=False)
    """The first value of each parameter."""
    headers: Mapping[str, str] = field(repr=False)
    """By lower-case name."""
    body: bytes = field(repr=False)


class PublishAction(StrEnum):
    """What happened to a stream."""

    PUBLISHED = "published"
    UNPUBLISHED = "unpublished"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishEvent:
    """A stream went on or off the air."""

    action: PublishAction
    fields: Mapping[str, str]
    """What names it, as ``HOOK_FIELDS`` lists for the server; missing ones are left out. Not checked yet."""
    publisher: str
    """The server's id of the publishing connection; the same in both events. Empty where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Format:
    action: str
    """The field that says what happened."""
    published: tuple[str, ...]
    unpublished: tuple[str, ...]
    publisher: str
    """The field that names the publishing connection; empty: there is none."""
    needed: tuple[str, ...]
    """Without these, nothing names a stream."""
    read: Callable[[HookCall], Mapping[str, str]]
    """Every field as text."""
    renamed: Mapping[str, str] = field(default_factory=dict)
    """The server's word to ours, where ours differs."""


def _json(call: HookCall) -> Mapping[str, str]:
    try:
        found: Any = json.loads(call.body)
    except (ValueError, RecursionError) as err:
        raise HookMalformed("the body is not JSON") from err
    if not isinstance(found, dict):
        raise HookMalformed("the body is not a JSON object")
    return {str(key): str(value) for key, value in found.items() if type(value) in (str, int)}


def _form(call: HookCall) -> Mapping[str, str]:
    try:
        pairs = parse_qsl(call.body.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError as err:
        raise HookMalformed(f"the body is not a form of at most {_MOST_FIELDS} fields") from err
    fields: dict[str, str] = {}
    for key, value in pairs:
        # nginx-rtmp appends what the publisher sent: only the first of a name is the server's.
        fields.setdefault(key, value)
    return fields


def _query_and_form(call: HookCall) -> Mapping[str, str]:
    return {**_form(call), **call.query}


_FORMATS: Mapping[HookType, _Format] = MappingProxyType(
    {
        HookType.SRS: _Format(
            action="action",
            published=("on_publish",),
            unpublished=("on_unpublish",),
            publisher="client_id",
            needed=("app", "stream"),
            read=_json,
        ),
        HookType.NGINX_RTMP: _Format(
            action="call",
            published=("publish",),
            unpublished=("publish_done",),
            publisher="clientid",
            needed=("app", "name"),
            read=_form,
        ),
        HookType.MEDIAMTX: _Format(
            action="action",
            published=("available", "ready"),
            unpublished=("unavailable", "not_ready"),
            publisher="MTX_SOURCE_ID",
            needed=("path",),
            read=_query_and_form,
            renamed={"MTX_PATH": "path"},
        ),
        HookType.TENCENT: _Format(
            action="event_type",
            published=("1",),
            unpublished=("0",),
            publisher="sequence",
            needed=("stream_id",),
            read=_json,
        ),
        HookType.ALIBABA: _Format(
            action="action",
            published=("publish",),
            unpublished=("publish_done",),
            publisher="",
            needed=("appname", "id"),
            read=lambda call: call.query,
        ),
    }
)


def raw_fields(kind: HookType, call: HookCall) -> Mapping[str, str]:
    """Every field of the call as text.

    :raises HookMalformed: it cannot be read at all.
    """
    return _FORMATS[kind].read(call)


def read_event(kind: HookType, raw: Mapping[str, str]) -> PublishEvent | None:
    """The event that the fields tell of; None if they tell of something else, such as a viewer who left.

    :raises HookMalformed: a field that names the stream is missing.
    """
    form = _FORMATS[kind]
    said = raw.get(form.action)
    if said is None:
        raise HookMalformed(f"the field {form.action} is missing")
    if said not in (*form.published, *form.unpublished):
        return None
    named = {form.renamed.get(key, key): value for key, value in raw.items()}
    if missing := [name for name in form.needed if not named.get(name)]:
        raise HookMalformed(f"the field {missing[0]} is missing")
    return PublishEvent(
        action=PublishAction.PUBLISHED if said in form.published else PublishAction.UNPUBLISHED,
        fields=MappingProxyType({name: named[name] for name in HOOK_FIELDS[kind] if named.get(name)}),
        publisher=raw.get(form.publisher, "")[:_PUBLISHER_CHARS],
    )


def stream_id(hook: HookConfig, event: PublishEvent) -> str:
    """The id of the event's room: the hook's name, the stream's name made readable, and 8 digits of its digest, so
    that no two streams share one."""
    values = [event.fields.get(name, "") for name in HOOK_FIELDS[hook.type]]
    digest = hashlib.sha256("\0".join(values).encode(errors="surrogatepass")).hexdigest()[:8]
    slug = _SLUG.sub("-", "-".join(filter(None, values)))[:40]
    return f"{hook.name}-{slug}-{digest}"


def room_of(hook: HookConfig, event: PublishEvent) -> RosterEntry:
    """The room to watch, made from the hook's templates.

    :raises UnsafeName: a field that a template needs is missing, or holds more than letters, digits and ``._~=-``.
    :raises EntryRefused: what the templates make is no stream that may be configured.
    """
    for name, value in event.fields.items():
        if not _is_safe(name, value):
            raise UnsafeName(f"the field {name} may hold letters, digits and ._~=- only, and not begin with . ~ = or -")
    filled = {}
    for key in ("url", "account", "room"):
        try:
            filled[key] = getattr(hook, key).format_map(event.fields)
        except KeyError as err:
            raise UnsafeName(f"the field {err.args[0]} is missing, which {key} needs") from err
    stream = read_entry({"id": stream_id(hook, event), "platform": hook.platform, "kind": hook.kind, **filled})
    return RosterEntry(stream=stream, origin=Origin.HOOK, hook=hook.name, publisher=event.publisher)


def _is_safe(name: str, value: str) -> bool:
    # Only a path has parts.
    parts = value.split("/") if name == "path" else [value]
    return len(parts) <= 8 and all(_SAFE.fullmatch(part) for part in parts)
