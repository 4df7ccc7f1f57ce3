"""What the dispatcher counts."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 3600.0)


class AlertsMetrics:
    """Metrics of the deliveries; one label value per configured receiver."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.delivered = Counter(
            "monitor_alerts_delivered_total",
            "Alerts that a receiver accepted; re-sent ones not counted.",
            ("receiver",),
            registry=registry,
        )
        self.failures = Counter(
            "monitor_alert_failures_total",
            "Attempts that failed, by what follows: try_again, asked_to_wait, refused (dead), gone (disabled).",
            ("receiver", "kind"),
            registry=registry,
        )
        self.pending = Gauge("monitor_alerts_pending", "Alerts not delivered yet.", ("receiver",), registry=registry)
        self.disabled = Gauge(
            "monitor_alert_receiver_disabled",
            "1 while a receiver that answered 410 Gone is left alone, until the next start.",
            ("receiver",),
            registry=registry,
        )
        self.delivery_seconds = Histogram(
            "monitor_alert_delivery_seconds",
            "Seconds from an incident's transition to its acceptance by the receiver.",
            ("receiver",),
            buckets=BUCKETS_S,
            registry=registry,
        )
