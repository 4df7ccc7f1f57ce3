"""Everything that the pages and the API read, in one place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web
from prometheus_client import CollectorRegistry

from monitor.clock import Clock
from monitor.streams.roster import Roster
from monitor.web.config import WebConfig
from monitor.web.readiness import Probe, Watch
from monitor.web.reading import IncidentReader, StatusReader


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What a web application is built on."""

    config: WebConfig
    roster: Roster
    """The watched rooms; their URLs are never shown."""
    statuses: StatusReader
    incidents: IncidentReader
    probes: Sequence[Probe]
    """Asked by ``/readyz``."""
    watch: Callable[[], Watch]
    """Counts at this moment: the gallery changes while the daemon runs."""
    registry: CollectorRegistry
    evidence_folder: Path
    """Holds ``<incident id>/{frame.jpg,crop.jpg,reference.jpg,manifest.json}``."""
    clock: Clock


SITE: web.AppKey[Site] = web.AppKey("site", Site)
