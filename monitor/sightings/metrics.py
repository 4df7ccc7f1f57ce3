"""What became of the faces that were compared."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge

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
        self.false_alerts_expected = Gauge(
            "monitor_false_alerts_expected_per_day",
            "False alerts a day to expect of as many rooms and identities as there are now, "
            "in proportion to the budget, if the calibration is right; "
            "above sightings.alert_budget.false_alerts_per_day the budget's rooms or identities are too few.",
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
