"""What Prometheus is told about the streams."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

from monitor.errors import StreamReason
from monitor.streams.stream import StreamState


class StreamMetrics:
    """Counters of the ``streams`` package, on an injected registry; no label names a stream."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.streams = Gauge("monitor_streams", "Configured streams by state.", ["state"], registry=registry)
        self.connects = Counter("monitor_stream_connects", "Connections tried.", registry=registry)
        self.failures = Counter(
            "monitor_stream_failures", "Connections that ended in an error, by reason.", ["reason"], registry=registry
        )
        self.bytes_received = Counter("monitor_stream_received_bytes", "Bytes read from streams.", registry=registry)
        self.sampled = Counter("monitor_frames_sampled", "Keyframes picked to be analysed.", registry=registry)
        self.dropped = Counter(
            "monitor_frames_dropped",
            "Sampled keyframes that a newer one replaced before they were analysed.",
            registry=registry,
        )
        self.unwatched = Counter(
            "monitor_stream_unwatched_seconds",
            "Seconds in which a configured stream was not being sampled, by the state it was in.",
            ["state"],
            registry=registry,
        )
        self.consumer_restarts = Counter(
            "monitor_stream_consumer_restarts",
            "Times a stream's analysis failed and was started again.",
            registry=registry,
        )
        for state in StreamState:
            self.streams.labels(state).set(0)

    def moved(self, old: StreamState | None, new: StreamState | None) -> None:
        """A stream went from ``old`` to ``new``; None stands for not being configured."""
        if old is not None:
            self.streams.labels(old).dec()
        if new is not None:
            self.streams.labels(new).inc()

    def failed(self, reason: StreamReason) -> None:
        """A connection ended in an error."""
        self.failures.labels(reason).inc()
