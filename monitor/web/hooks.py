"""``/hooks/<type>``: streaming servers tell which rooms go on and off the air.

The answer never waits for anything, because the publisher waits for it; what follows from the event is done later.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType

from aiohttp import web
from prometheus_client import CollectorRegistry

from monitor.clock import Clock
from monitor.errors import ConfigError
from monitor.streams.hook_auth import HookDoubt, SeenCalls, doubt, fingerprint, valid_s
from monitor.streams.hook_config import HookConfig, HookType
from monitor.streams.hooks import (
    MOST_BYTES,
    HookCall,
    HookMalformed,
    PublishAction,
    PublishEvent,
    UnsafeName,
    raw_fields,
    read_event,
    room_of,
)
from monitor.web.metrics import HookMetrics
from monitor.web.writing import ApiRefused, read_body

log = logging.getLogger(__name__)

Take = Callable[[HookConfig, PublishEvent], bool]
"""``PublishDesk.take``."""

_SAID_EVERY_S = 1.0


class HookOutcome(StrEnum):
    """What became of a call: the metric's label and the log's word."""

    TAKEN = "taken"
    IGNORED = "ignored"
    """Believed, but about something other than going on or off the air."""
    REPEATED = "repeated"
    """A signed call that was seen before."""
    REFUSED_NAME = "refused_name"
    """Believed, but what names the stream may not go into an address: the room is not watched."""
    OVERLOADED = "overloaded"
    """Too many events wait already: the room is not watched."""
    MALFORMED = "malformed"
    BAD_SECRET = HookDoubt.BAD_SECRET.value
    EXPIRED = HookDoubt.EXPIRED.value
    NOT_CONFIGURED = "not_configured"


# Who is believed gets a success whatever follows: another answer would end the publisher's broadcast.
_STATUS: Mapping[HookOutcome, tuple[int, str]] = MappingProxyType(
    {
        HookOutcome.MALFORMED: (400, "this is not an event of that server"),
        HookOutcome.BAD_SECRET: (403, "the secret or signature is missing or wrong; compare the hook's secret"),
        HookOutcome.EXPIRED: (403, "the signature's time is too far from now; compare the clocks"),
        HookOutcome.NOT_CONFIGURED: (404, "no hook of this type is configured; add one under hooks"),
    }
)
_ANSWERS: Mapping[HookType, tuple[str, str]] = MappingProxyType(
    {
        HookType.SRS: ("0", "text/plain"),
        HookType.NGINX_RTMP: ("ok", "text/plain"),
        HookType.MEDIAMTX: ("ok", "text/plain"),
        HookType.TENCENT: ('{"code":0}', "application/json"),
        HookType.ALIBABA: ("ok", "text/plain"),
    }
)


class HookDoor:
    """Judges each call at once and hands what it tells to the desk."""

    def __init__(self, hooks: Sequence[HookConfig], take: Take, clock: Clock, registry: CollectorRegistry) -> None:
        self._hooks = tuple(hooks)
        self._take = take
        self._clock = clock
        self._metrics = HookMetrics(registry)
        self._seen = SeenCalls()
        self._said: dict[HookOutcome, float] = {}

    def receive(self, kind: HookType, call: HookCall) -> HookOutcome:
        """What becomes of a call; counted, and said in the log if the operator should know."""
        outcome, detail = self._judge(kind, call)
        self._metrics.calls.labels(kind, outcome).inc()
        now = self._clock.monotonic()
        quiet = outcome in (HookOutcome.TAKEN, HookOutcome.IGNORED)
        if not quiet and now - self._said.get(outcome, -_SAID_EVERY_S) >= _SAID_EVERY_S:
            self._said[outcome] = now
            log.warning("hook_call type=%s outcome=%s detail=%r", kind, outcome, detail)
        return outcome

    def _judge(self, kind: HookType, call: HookCall) -> tuple[HookOutcome, str]:
        candidates = [hook for hook in self._hooks if hook.type is kind]
        if not candidates:
            return HookOutcome.NOT_CONFIGURED, ""
        now = self._clock.utc().timestamp()
        try:
            raw = raw_fields(kind, call)
            doubts = {hook: doubt(hook, call, raw, now=now) for hook in candidates}
            hook = next((hook for hook in candidates if doubts[hook] is None), None)
            if hook is None:
                expired = HookDoubt.EXPIRED in doubts.values()
                return (HookOutcome.EXPIRED if expired else HookOutcome.BAD_SECRET), ""
            event = read_event(kind, raw)
        except HookMalformed as err:
            return HookOutcome.MALFORMED, str(err)
        if event is None:
            return HookOutcome.IGNORED, ""
        mark = fingerprint(hook, call)
        if mark is not None and not self._seen.is_new(mark, now=now, valid_s=valid_s(hook)):
            return HookOutcome.REPEATED, hook.name
        return self._hand_over(hook, event)

    def _hand_over(self, hook: HookConfig, event: PublishEvent) -> tuple[HookOutcome, str]:
        if event.action is PublishAction.PUBLISHED:
            try:
                room_of(hook, event)
            except (UnsafeName, ConfigError) as err:
                return HookOutcome.REFUSED_NAME, f"{hook.name}: {err}"
        if not self._take(hook, event):
            return HookOutcome.OVERLOADED, hook.name
        return HookOutcome.TAKEN, ""


DOOR: web.AppKey[HookDoor] = web.AppKey("door", HookDoor)


async def receive(request: web.Request) -> web.Response:
    """One event of a streaming server, in the server's own format.

    :raises ApiRefused: it is not believed.
    """
    kind = HookType(request.path.rpartition("/")[2])
    query: dict[str, str] = {}
    for name, value in request.query.items():
        query.setdefault(name, value)
    call = HookCall(
        host=request.url.host or "",
        query=query,
        headers={name.lower(): value for name, value in request.headers.items()},
        body=await read_body(request, most=MOST_BYTES),
    )
    outcome = request.app[DOOR].receive(kind, call)
    if outcome in _STATUS:
        raise ApiRefused(*_STATUS[outcome])
    text, content_type = _ANSWERS[kind]
    return web.Response(text=text, content_type=content_type)
