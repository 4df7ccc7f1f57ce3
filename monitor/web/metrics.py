"""What the web server counts of itself."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

BUCKETS_S = (0.01, 0.1, 1.0, 10.0)


class WebMetrics:
    """Metrics of the pages and the API."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.request_seconds = Histogram(
            "monitor_web_request_seconds",
            "Seconds from a request's arrival until its answer was ready, by route pattern.",
            ("route",),
            buckets=BUCKETS_S,
            registry=registry,
        )


class HookMetrics:
    """Metrics of the streaming servers' hooks."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.calls = Counter(
            "monitor_hook_calls",
            "Calls of streaming servers' hooks, by the server's type and by what became of them.",
            ("type", "outcome"),
            registry=registry,
        )
