"""The JSON API: ``/healthz``, ``/readyz``, ``/metrics`` and ``/api/v1``."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from aiohttp import web
from prometheus_client.exposition import choose_encoder

from monitor.alerts.delivery import Delivery
from monitor.clock import iso_utc
from monitor.incidents.incident import EvidenceRecord, Incident, TimelineEntry
from monitor.redact import redact_text
from monitor.web.query import IncidentQuery, is_incident_id, read_query
from monitor.web.readiness import assess
from monitor.web.reading import IncidentReader
from monitor.web.site import SITE


async def healthz(request: web.Request) -> web.Response:
    """200 while the event loop turns: what a process supervisor asks."""
    return web.json_response({"status": "ok"})


async def readyz(request: web.Request) -> web.Response:
    """200 if every part works and something is watched, else 503; the body says which and why."""
    site = request.app[SITE]
    readiness = await assess(site.probes, site.watch())
    watch = readiness.watch
    body = {
        "ready": readiness.ready,
        "watching": not watch.gaps,
        "reasons": list(watch.gaps),
        "configured": {"streams": watch.streams, "identities": watch.identities, "receivers": watch.receivers},
        "probes": {probe.name: {"ok": probe.ok, "detail": probe.detail} for probe in readiness.probes},
    }
    return web.json_response(body, status=200 if readiness.ready else 503)


async def metrics(request: web.Request) -> web.Response:
    """Every metric in Prometheus' text format (or OpenMetrics, if asked for)."""
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    # Rendering thousands of series takes long; the loop must go on meanwhile.
    body = await asyncio.to_thread(encode, request.app[SITE].registry)
    return web.Response(body=body, headers={"Content-Type": content_type})


async def incidents(request: web.Request) -> web.Response:
    """A page of incidents, newest first; ``next`` is the address of the page after it, or null."""
    query = read_query(request.query)
    found, more = await fetch_page(request.app[SITE].incidents, query)
    next_page = None
    if more:
        parameters = [(name, value) for name, value in request.query.items() if name != "before"]
        next_page = f"{request.path}?{urlencode([*parameters, ('before', found[-1].id)])}"
    return web.json_response({"incidents": [incident_json(incident) for incident in found], "next": next_page})


async def incident(request: web.Request) -> web.Response:
    """One incident with its timeline and how its alerts fared."""
    found = await find_incident(request)
    reader = request.app[SITE].incidents
    timeline, deliveries = await reader.timeline(found.id), await reader.deliveries(found.id)
    answer = incident_json(found)
    answer["timeline"] = [entry_json(entry) for entry in timeline]
    answer["alerts"] = [delivery_json(delivery) for delivery in deliveries]
    return web.json_response(answer)


async def fetch_page(reader: IncidentReader, query: IncidentQuery) -> tuple[Sequence[Incident], bool]:
    """The incidents asked for, and whether there are more behind them."""
    found = await reader.page(
        limit=query.limit + 1,
        before=query.before,
        state=query.state,
        decisions=query.decisions,
        identity_id=query.identity,
        platform=query.platform,
        account=query.account,
        room=query.room,
    )
    return found[: query.limit], len(found) > query.limit


async def find_incident(request: web.Request) -> Incident:
    """The incident that the address names.

    :raises aiohttp.web.HTTPNotFound: it is no incident's id.
    """
    incident_id = request.match_info["incident"]
    found = await request.app[SITE].incidents.get(incident_id) if is_incident_id(incident_id) else None
    if found is None:
        raise web.HTTPNotFound
    return found


def incident_json(incident: Incident) -> dict[str, Any]:
    """An incident as the API gives it; ``evidence`` is the newest, null until it is recorded."""
    return {
        "id": incident.id,
        "state": incident.state,
        "decision": incident.decision,
        "decision_detail": incident.decision_detail,
        "presence": incident.presence,
        "identity": incident.key.identity_id,
        "identity_name": incident.identity_name,
        "platform": incident.key.platform,
        "account": incident.key.account,
        "room": incident.key.room,
        "stream": incident.stream_id,
        "title": incident.title,
        "products": list(incident.products),
        "similarity": incident.similarity,
        "similarity_threshold": incident.similarity_threshold,
        "margin": incident.margin,
        "log_likelihood": incident.log_likelihood,
        "log_likelihood_needed": incident.log_likelihood_needed,
        "samples_matched": incident.samples_matched,
        "samples_seen": incident.samples_seen,
        "face_height_px": incident.face_height_px,
        "seconds_on_screen": incident.seconds_on_screen,
        "opened_at": iso_utc(incident.opened_at),
        "last_seen_at": iso_utc(incident.last_seen_at),
        "first_seen_at": iso_utc(incident.first_seen_at),
        "violation_since": iso_utc(incident.violation_since) if incident.violation_since else None,
        "consent": incident.consent,
        "closed_at": iso_utc(incident.closed_at) if incident.closed_at else None,
        "stream_time_first": incident.stream_time_first,
        "sequence": incident.sequence,
        "manifest_sha256": incident.manifest_sha256,
        "page": f"/incidents/{incident.id}",
        "evidence": _evidence_json(incident.evidence[-1]) if incident.evidence else None,
        "earlier_evidence": [_evidence_json(record) for record in incident.evidence[:-1]],
    }


def _evidence_json(record: EvidenceRecord) -> dict[str, str]:
    names = {"frame": "frame.jpg", "crop": "crop.jpg", "reference": "reference.jpg", "manifest": "manifest.json"}
    addresses = {kind: f"/evidence/{record.folder}/{name}" for kind, name in names.items()}
    return addresses | {"presence": record.presence, "manifest_sha256": record.manifest_sha256}


def entry_json(entry: TimelineEntry) -> dict[str, Any]:
    """One line of the timeline."""
    return {"at": iso_utc(entry.at), "event": entry.event, "reason": entry.reason, "detail": entry.detail}


def delivery_json(delivery: Delivery) -> dict[str, Any]:
    """How one alert fared with one receiver; ``delivered_at`` and ``given_up_at`` are null while it is tried."""
    return {
        "id": delivery.id,
        "receiver": delivery.receiver,
        "transition": delivery.transition,
        "created_at": iso_utc(delivery.created_at),
        "delivered_at": iso_utc(delivery.delivered_at) if delivery.delivered_at else None,
        "given_up_at": iso_utc(delivery.dead_at) if delivery.dead_at else None,
        "failed_attempts": delivery.attempts,
        "last_error": redact_text(delivery.last_error) if delivery.last_error else None,
    }
