"""``/api/v1/streams``: the list of rooms, read by all, changed by who has the token."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, urlencode

from aiohttp import web

from monitor.clock import iso_utc
from monitor.errors import StreamRefusal, StreamRefused
from monitor.redact import redact_text
from monitor.streams.catalogue import EntryProblem, EntryRefused, entry_values, read_entry
from monitor.streams.roster import MOST_STREAMS, RosterEntry
from monitor.streams.stream import Stream, StreamState, StreamStatus
from monitor.web.query import StreamQuery, read_stream_query
from monitor.web.site import SITE, Site
from monitor.web.writing import ApiRefused, parse_object, read_json, require_token

_ONE_BYTES = 64_000
_ALL_BYTES = 8_000_000
_MOST_PROBLEMS = 100


async def streams(request: web.Request) -> web.Response:
    """A page of the watched rooms, by id; ``next`` is the address of the page after it, or null."""
    site = request.app[SITE]
    found, more = page(site, read_stream_query(request.query))
    next_page = None
    if more:
        parameters = [(name, value) for name, value in request.query.items() if name != "after"]
        next_page = f"{request.path}?{urlencode([*parameters, ('after', found[-1].stream.id)])}"
    rows = [stream_json(entry, site.statuses.status(entry.stream.id)) for entry in found]
    return web.json_response({"streams": rows, "total": len(site.roster), "next": next_page})


async def stream(request: web.Request) -> web.Response:
    """One room."""
    site = request.app[SITE]
    entry = _find(site, request)
    return web.json_response(stream_json(entry, site.statuses.status(entry.stream.id)))


async def add(request: web.Request) -> web.Response:
    """Watch one more room: 201, or 200 if exactly this one is watched already."""
    site = request.app[SITE]
    require_token(site.config, request)
    wanted = read_entry(parse_object(await read_json(request, most=_ONE_BYTES)))
    is_new = await site.roster.add(wanted)
    headers = {"Location": f"/api/v1/streams/{quote(wanted.id)}"}
    return _answer(site, wanted.id, status=201 if is_new else 200, headers=headers)


async def change(request: web.Request) -> web.Response:
    """Change some fields of a room; those that are left out keep their values."""
    site = request.app[SITE]
    require_token(site.config, request)
    stream_id = _find(site, request).stream.id
    fields = parse_object(await read_json(request, most=_ONE_BYTES))
    if fields.get("id", stream_id) != stream_id:
        problem = EntryProblem(
            field="id", value=repr(fields["id"])[:80], allowed=f"{stream_id!r}: an id does not change"
        )
        raise EntryRefused([problem])
    await site.roster.change(stream_id, lambda before: read_entry({**entry_values(before), **fields}))
    return _answer(site, stream_id)


async def remove(request: web.Request) -> web.Response:
    """Watch a room no longer."""
    site = request.app[SITE]
    require_token(site.config, request)
    await site.roster.remove(_find(site, request).stream.id)
    return web.Response(status=204)


async def set_all(request: web.Request) -> web.Response:
    """Make the rooms of the API exactly those in the body, ``{"streams": [...]}``; says what that changed."""
    site = request.app[SITE]
    require_token(site.config, request)
    body = await read_json(request, most=_ALL_BYTES)
    # Thousands of definitions take long to check; the loop must go on meanwhile.
    wanted = await asyncio.to_thread(_read_all, body)
    changes = await site.roster.set_all(wanted)
    return web.json_response(
        {
            "added": list(changes.added),
            "changed": list(changes.changed),
            "removed": list(changes.removed),
            "unchanged": len(changes.unchanged),
        }
    )


def page(site: Site, query: StreamQuery) -> tuple[Sequence[RosterEntry], bool]:
    """The rooms asked for, by id, and whether there are more behind them."""
    states = site.statuses.states()
    found = [
        entry
        for entry in site.roster.entries()
        if query.after < entry.stream.id
        and query.origin in (None, entry.origin)
        and query.state in (None, states.get(entry.stream.id, StreamState.CONNECTING))
    ]
    found.sort(key=lambda entry: entry.stream.id)
    return found[: query.limit], len(found) > query.limit


def stream_json(entry: RosterEntry, status: StreamStatus | None) -> dict[str, Any]:
    """A room; of its URL, which can hold a key, only scheme and host. ``state`` is null until it was started."""
    found = entry.stream
    return {
        "id": found.id,
        "address": found.redacted_url,
        "platform": found.platform,
        "account": found.account,
        "room": found.room,
        "title": found.title,
        "products": list(found.products),
        "tags": list(found.tags),
        "kind": found.kind,
        "sampling": found.sampling,
        "origin": entry.origin,
        "provisioned": entry.provisioned,
        "hook": entry.hook or None,
        "state": status.state if status else None,
        "reason": status.reason if status else None,
        "detail": redact_text(status.detail) if status else "",
        "since": iso_utc(status.since) if status else None,
        "connects": status.connects if status else 0,
        "frames_sampled": status.frames_sampled if status else 0,
        "frames_dropped": status.frames_dropped if status else 0,
        "bytes_received": status.bytes_received if status else 0,
        "sampled_per_s": status.sampled_per_s if status else 0.0,
    }


def _find(site: Site, request: web.Request) -> RosterEntry:
    """:raises StreamRefused: UNKNOWN."""
    stream_id = request.match_info["stream"]
    entry = site.roster.get(stream_id)
    if entry is None:
        raise StreamRefused(StreamRefusal.UNKNOWN, f"there is no stream {stream_id[:64]!r}")
    return entry


def _answer(site: Site, stream_id: str, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    entry = site.roster.get(stream_id)
    if entry is None:  # removed by somebody else meanwhile
        raise StreamRefused(StreamRefusal.UNKNOWN, f"there is no stream {stream_id!r} any more")
    return web.json_response(stream_json(entry, site.statuses.status(stream_id)), status=status, headers=headers)


def _read_all(body: bytes) -> list[Stream]:
    """:raises EntryRefused: for all mistakes at once, up to a hundred."""
    found = parse_object(body)
    entries = found.get("streams")
    if not isinstance(entries, list) or set(found) != {"streams"}:
        raise ApiRefused(400, 'the body must be {"streams": [...]} and hold nothing else')
    if len(entries) > MOST_STREAMS:
        raise ApiRefused(400, f"streams: {len(entries)} of them; allowed: at most {MOST_STREAMS}")
    wanted: dict[str, Stream] = {}
    problems: list[EntryProblem] = []
    for index, raw in enumerate(entries):
        try:
            entry = read_entry(raw)
        except EntryRefused as err:
            problems += [
                EntryProblem(
                    field=f"streams[{index}]" + (f".{problem.field}" if problem.field else ""),
                    value=problem.value,
                    allowed=problem.allowed,
                )
                for problem in err.problems
            ]
        else:
            if entry.id in wanted:
                problems.append(
                    EntryProblem(field=f"streams[{index}].id", value=repr(entry.id), allowed="an id that stands once")
                )
            wanted[entry.id] = entry
        if len(problems) >= _MOST_PROBLEMS:
            break
    if problems:
        raise EntryRefused(problems)
    return list(wanted.values())
