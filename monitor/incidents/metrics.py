"""What the incident book counts."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

from monitor.incidents.incident import Decision


class IncidentsMetrics:
    """Metrics of the incidents' life."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.transitions = Counter(
            "monitor_incident_transitions_total",
            "Events in the incidents' timelines (opened, updated, escalated, resolved, permitted, closed, "
            "evidence_recorded), with the decision that holds after them.",
            ("event", "decision"),
            registry=registry,
        )
        self.open = Gauge(
            "monitor_incidents_open", "Incidents that are open now, by decision.", ("decision",), registry=registry
        )
        self.store_failures = Counter(
            "monitor_incident_store_failures_total",
            "Changes of an incident that the database did not take; each is tried again.",
            registry=registry,
        )
        for decision in Decision:
            self.open.labels(decision=decision).set(0)
