"""What every answer goes through: who may ask, security headers, errors without insides, the time it took."""

from __future__ import annotations

import logging
import time
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from monitor.errors import MonitorError, StreamRefusal, StreamRefused
from monitor.redact import redact_text
from monitor.streams.catalogue import EntryProblem, EntryRefused
from monitor.web.config import WebConfig
from monitor.web.metrics import WebMetrics
from monitor.web.query import BadParameter
from monitor.web.templates import render
from monitor.web.writing import ApiRefused

log = logging.getLogger(__name__)

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Server": "likeness-monitor",
}
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Signal handler of ``on_response_prepare``."""
    response.headers.update(SECURITY_HEADERS)
    response.headers.setdefault("Cache-Control", "no-store")


def host_is_allowed(config: WebConfig, host: str | None) -> bool:
    """Whether a Host header may be answered.

    A page on another site can make a browser ask this machine under that site's name (DNS rebinding); on
    loopback only our own names are therefore answered. Elsewhere the proxy in front decides.
    """
    if not config.is_loopback:
        return True
    try:
        name = urlsplit(f"//{host or ''}").hostname
    except ValueError:
        return False
    return name is not None and name in _LOOPBACK_NAMES | {config.host.lower(), config.base_host}


def error_response(request: web.Request, status: int, message: str, **more: object) -> web.Response:
    """JSON under ``/api`` and ``/hooks``, with ``more`` beside the message; a page elsewhere."""
    if request.path.startswith(("/api/", "/hooks/")):
        return web.json_response({"error": {"status": status, "message": message, **more}}, status=status)
    text = render("error.html", status=status, message=message)
    return web.Response(text=text, status=status, content_type="text/html")


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turns every error into an answer that shows nothing of the inside."""
    try:
        return await handler(request)
    except BadParameter as err:
        return error_response(request, 400, str(err))
    except web.HTTPException as err:
        if err.status < 400:
            raise
        response = error_response(request, err.status, _MESSAGES.get(err.status, err.reason))
        if "Allow" in err.headers:
            response.headers["Allow"] = err.headers["Allow"]
        return response
    except ApiRefused as err:
        response = error_response(request, err.status, str(err))
        response.headers.update(err.headers)
        return response
    except StreamRefused as err:
        return error_response(request, _REFUSALS[err.reason], str(err), reason=err.reason)
    except EntryRefused as err:
        problems = [_problem_json(problem) for problem in err.problems]
        return error_response(request, 400, redact_text(str(err))[:2000], problems=problems)
    except MonitorError as err:
        log.warning("web_unavailable route=%s error=%r", _route(request), redact_text(str(err)))
        return error_response(request, 503, redact_text(str(err)))
    except Exception:
        # The top of a request's task: a defect in one page must not reach the client, nor end the server.
        log.exception("web_failed route=%s", _route(request))
        return error_response(request, 500, "something went wrong here; the daemon's log says what")


_REFUSALS = {
    StreamRefusal.UNKNOWN: 404,
    StreamRefusal.EXISTS: 409,
    StreamRefusal.PROVISIONED: 409,
    StreamRefusal.OWNED_BY_HOOK: 409,
    StreamRefusal.ADDRESS: 400,
    StreamRefusal.TOO_MANY: 409,
}


def _problem_json(problem: EntryProblem) -> dict[str, str | None]:
    shown = None if problem.value is None else redact_text(problem.value)
    return {"field": problem.field, "value": shown, "allowed": redact_text(problem.allowed)}


_MESSAGES = {
    404: "there is nothing at this address",
    405: "this address cannot be asked in this way",
    421: "this host name is not served here; use localhost, or set web.base_url to the name that people use",
}


def host_guard(config: WebConfig) -> Middleware:
    """The middleware that refuses foreign Host headers."""

    @web.middleware
    async def check_host(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not host_is_allowed(config, request.headers.get("Host")):
            raise web.HTTPMisdirectedRequest
        return await handler(request)

    return check_host


def timer(metrics: WebMetrics) -> Middleware:
    """The middleware that measures how long answers take."""

    @web.middleware
    async def measure(request: web.Request, handler: Handler) -> web.StreamResponse:
        begun = time.perf_counter()
        try:
            return await handler(request)
        finally:
            metrics.request_seconds.labels(_route(request)).observe(time.perf_counter() - begun)

    return measure


def _route(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "unmatched"
