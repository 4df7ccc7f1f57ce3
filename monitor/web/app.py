"""Builds the web application."""

from __future__ import annotations

from aiohttp import web

from monitor.web import api, pages
from monitor.web.evidence_files import evidence
from monitor.web.guard import add_headers, answer_errors, host_guard, timer
from monitor.web.metrics import WebMetrics
from monitor.web.site import SITE, Site
from monitor.web.templates import STATIC_FOLDER, load_templates


def build_app(site: Site) -> web.Application:
    """The pages, the API, the probes and the metrics. Everything is read only."""
    load_templates()
    metrics = WebMetrics(site.registry)
    app = web.Application(client_max_size=1024, middlewares=[timer(metrics), answer_errors, host_guard(site.config)])
    app[SITE] = site
    app.on_response_prepare.append(add_headers)
    app.router.add_get("/", pages.index)
    app.router.add_get("/incidents/{incident}", pages.incident)
    app.router.add_get("/evidence/{incident}/{name}", evidence)
    app.router.add_get("/healthz", api.healthz)
    app.router.add_get("/readyz", api.readyz)
    app.router.add_get("/metrics", api.metrics)
    app.router.add_get("/api/v1/streams", api.streams)
    app.router.add_get("/api/v1/incidents", api.incidents)
    app.router.add_get("/api/v1/incidents/{incident}", api.incident)
    app.router.add_static("/static", STATIC_FOLDER)
    return app
