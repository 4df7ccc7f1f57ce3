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
        self.connects_waiting = Gauge(
            "monitor_stream_connects_waiting", "Connections that wait for their turn to be opened.", registry=registry
        )
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
        self.decoded_through = Counter(
            "monitor_frames_decoded_through",
            "Samples for which a GOP was decoded from its start because no keyframe had come for long.",
            registry=registry,
        )
        self.retries = Counter(
            "monitor_stream_retries",
            "Playlists and segments that were tried again without leaving the connection, by reason.",
            ["reason"],
            registry=registry,
        )
        self.ring_bytes = Gauge("monitor_ring_bytes", "Encoded video held over all rings.", registry=registry)
        self.ring_bound_bytes = Gauge(
            "monitor_ring_bound_bytes", "Most bytes that all rings together can hold.", registry=registry
        )
        self.ring_seconds = Gauge(
            "monitor_ring_seconds", "Stream seconds held, summed over all rings.", registry=registry
        )
        self.ring_bound_seconds = Gauge(
            "monitor_ring_bound_seconds",
            "Seconds that all rings together hold at most, where no GOP is longer than a ring.",
            registry=registry,
        )
        self.unwatched = Counter(
            "monitor_stream_unwatched_seconds",
            "Seconds in which nothing of a configured stream was looked at, unless its broadcast had come to its end, "
            "by the reason.",
            ["reason"],
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
