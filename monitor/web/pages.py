"""The pages: the list of incidents, one incident, and the rooms."""

from __future__ import annotations

import asyncio
from collections import Counter

from aiohttp import web

from monitor.web.api import fetch_page, find_incident
from monitor.web.manifest import read_manifest
from monitor.web.query import Show, read_page_query, read_stream_query
from monitor.web.site import SITE, Site
from monitor.web.streams_api import page
from monitor.web.templates import render
from monitor.web.wording import ago_text

PAGE_LENGTH = 25
ROOMS_LENGTH = 200
REFRESH_S = 5
"""The list's first page and an open incident's page load themselves again after this many seconds."""


async def index(request: web.Request) -> web.Response:
    """The incidents, newest first, with the live crop beside the reference."""
    site = request.app[SITE]
    show, query = read_page_query(request.query, limit=PAGE_LENGTH)
    found, more = await fetch_page(site.incidents, query)
    now = site.clock.utc()
    text = render(
        "index.html",
        incidents=[(incident, ago_text(incident.last_seen_at, now)) for incident in found],
        show=show,
        shows=list(Show),
        older=found[-1].id if more else None,
        is_first=query.before is None,
        refresh_s=REFRESH_S if query.before is None else None,
        watch=site.watch(),
        states=_states(site),
        now=now,
    )
    return web.Response(text=text, content_type="text/html")


async def incident(request: web.Request) -> web.Response:
    """Everything that is known of one incident."""
    site = request.app[SITE]
    found = await find_incident(request)
    timeline = await site.incidents.timeline(found.id)
    deliveries = await site.incidents.deliveries(found.id)
    folder = site.evidence_folder / found.evidence_folder
    manifest = await asyncio.to_thread(read_manifest, folder / "manifest.json", found.manifest_sha256)
    text = render(
        "incident.html",
        incident=found,
        timeline=timeline,
        deliveries=deliveries,
        manifest=manifest,
        refresh_s=REFRESH_S if found.closed_at is None else None,
        now=site.clock.utc(),
    )
    return web.Response(text=text, content_type="text/html")


async def rooms(request: web.Request) -> web.Response:
    """The watched rooms and how each is doing."""
    site = request.app[SITE]
    query = read_stream_query(request.query, default_limit=ROOMS_LENGTH)
    found, more = page(site, query)
    now = site.clock.utc()
    statuses = [(entry, site.statuses.status(entry.stream.id)) for entry in found]
    text = render(
        "rooms.html",
        rooms=[(entry, status, ago_text(status.since, now) if status else "") for entry, status in statuses],
        states=_states(site),
        state=query.state,
        total=len(site.roster),
        older=found[-1].stream.id if more else None,
        is_first=not query.after,
        refresh_s=None if query.after else REFRESH_S,
        now=now,
    )
    return web.Response(text=text, content_type="text/html")


def _states(site: Site) -> list[tuple[str, int]]:
    return Counter(state.value for state in site.statuses.states().values()).most_common()
