"""Builds the web application."""

from __future__ import annotations

from aiohttp import web

from monitor.streams.hook_config import HookType
from monitor.web import api, hooks, pages, streams_api
from monitor.web.evidence_files import evidence
from monitor.web.guard import add_headers, answer_errors, host_guard, timer
from monitor.web.hooks import DOOR, HookDoor
from monitor.web.metrics import WebMetrics
from monitor.web.site import SITE, Site
from monitor.web.templates import STATIC_FOLDER, load_templates


def build_app(site: Site, door: HookDoor) -> web.Application:
    """The pages, the API, the hooks, the probes and the metrics. Only the list of streams can be changed."""
    load_templates()
    metrics = WebMetrics(site.registry)
    app = web.Application(client_max_size=1024, middlewares=[timer(metrics), answer_errors, host_guard(site.config)])
    app[SITE] = site
    app[DOOR] = door
    app.on_response_prepare.append(add_headers)
    app.router.add_get("/", pages.index)
    app.router.add_get("/rooms", pages.rooms)
    app.router.add_get("/incidents/{incident}", pages.incident)
    app.router.add_get("/evidence/{folder}/{name}", evidence)
    app.router.add_get("/healthz", api.healthz)
    app.router.add_get("/readyz", api.readyz)
    app.router.add_get("/metrics", api.metrics)
    app.router.add_get("/api/v1/streams", streams_api.streams)
    app.router.add_post("/api/v1/streams", streams_api.add)
    app.router.add_put("/api/v1/streams", streams_api.set_all)
    app.router.add_get("/api/v1/streams/{stream}", streams_api.stream)
    app.router.add_patch("/api/v1/streams/{stream}", streams_api.change)
    app.router.add_delete("/api/v1/streams/{stream}", streams_api.remove)
    for kind in HookType:
        # Only Alibaba asks with GET.
        method = "GET" if kind is HookType.ALIBABA else "POST"
        app.router.add_route(method, f"/hooks/{kind}", hooks.receive)
    app.router.add_get("/api/v1/incidents", api.incidents)
    app.router.add_get("/api/v1/incidents/{incident}", api.incident)
    app.router.add_static("/static", STATIC_FOLDER)
    return app
