"""What the evidence recorder counts."""

from __future__ import annotations

from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter


class EvidenceFailure(StrEnum):
    """Why evidence was not recorded: the log field and the metric label."""

    NOT_DRAWN = "not_drawn"
    """No worker could decode and draw the picture."""
    TIMED_OUT = "timed_out"
    """Drawing or writing took too long; an alert does not wait for it."""
    NOT_WRITTEN = "not_written"
    """The evidence folder cannot be used."""


class EvidenceMetrics:
    """Metrics of the evidence."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.failures = Counter(
            "monitor_evidence_failures_total",
            "Times evidence was not recorded, by reason; the incident opens without, and its next sample tries again.",
            ["reason"],
            registry=registry,
        )
        for reason in EvidenceFailure:
            self.failures.labels(reason)
