"""What became of the faces that were compared."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter

from monitor.sightings.presence import Presence
from monitor.sightings.sighting import EvidenceVerdict
from monitor.sightings.tracker import TrackUpdate


class SightingsMetrics:
    """Counts verdicts and sightings over all streams."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.verdicts = Counter(
            "monitor_evidence_verdicts",
            "Faces compared with the gallery, by what their track proves after that picture.",
            ["verdict"],
            registry=registry,
        )
        self.sightings = Counter(
            "monitor_sightings",
            "Sightings begun: a face's evidence for one identity passed; by how the face was shown then.",
            ["presence"],
            registry=registry,
        )
        for presence in Presence:
            self.sightings.labels(presence)
        for verdict in EvidenceVerdict:
            self.verdicts.labels(verdict)

    def count(self, updates: Iterable[TrackUpdate]) -> None:
        """Count what one picture brought."""
        for update in updates:
            self.verdicts.labels(update.verdict).inc()
            if update.begun and update.sighting is not None:
                self.sightings.labels(update.sighting.presence).inc()
