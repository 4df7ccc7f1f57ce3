"""Whether the daemon may be called ready: its parts work, and it watches something."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from monitor.errors import MonitorError
from monitor.redact import redact_text

PROBE_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One part of the daemon that must work."""

    name: str
    """``pack``, ``gallery``, ``database``."""
    check: Callable[[], Awaitable[object]]
    """Returns when the part works; raises a MonitorError that says what is wrong when it does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """How many streams, hooks, identities and receivers there are at this moment."""

    streams: int
    identities: int
    receivers: int
    refused: int = 0
    """Streams whose address the address guard refused."""
    hooks: int = 0
    """Streaming servers that announce streams: with one, having no stream means that nobody is on the air."""

    @property
    def gaps(self) -> tuple[str, ...]:
        """Why nothing is watched, one sentence each with the remedy; empty when something is."""
        reasons = (
            (
                self.streams or self.hooks,
                "no stream is configured: add rooms to the file that streams_file names, or over the API",
            ),
            (
                self.streams != self.refused or not self.streams,
                "every stream's address is refused: list the networks that you trust in network.allow",
            ),
            (
                self.identities,
                "no identity is enrolled: add a folder with identity.yaml and photos to the gallery; "
                "`monitor gallery check` says what is wrong with one that is there",
            ),
            (self.receivers, "no receiver is configured: add one under alerts.receivers, or nobody is told"),
        )
        return tuple(reason for count, reason in reasons if count == 0)

    @property
    def headline(self) -> str:
        """The gaps in one sentence."""
        if (self.streams > self.refused or self.hooks) and self.identities:
            return "Nobody is told of what this monitor sees"
        return "This monitor watches nothing"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """What one probe found."""

    name: str
    ok: bool
    detail: str
    """Why it failed; empty when ``ok``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """The answer of ``/readyz``."""

    probes: tuple[ProbeResult, ...]
    watch: Watch

    @property
    def ready(self) -> bool:
        """A monitor that watches nothing is not ready, however well its parts work."""
        return not self.watch.gaps and all(probe.ok for probe in self.probes)


async def _ask(probe: Probe) -> ProbeResult:
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            await probe.check()
    except TimeoutError:
        return ProbeResult(name=probe.name, ok=False, detail=f"no answer within {PROBE_TIMEOUT_S:g} s")
    except MonitorError as err:
        return ProbeResult(name=probe.name, ok=False, detail=redact_text(str(err)))
    return ProbeResult(name=probe.name, ok=True, detail="")


async def assess(probes: Sequence[Probe], watch: Watch) -> Readiness:
    """Ask every probe at once; each has ``PROBE_TIMEOUT_S`` to answer."""
    return Readiness(probes=tuple(await asyncio.gather(*map(_ask, probes))), watch=watch)
