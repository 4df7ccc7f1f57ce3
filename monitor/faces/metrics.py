"""What face analysis counts."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class FacesMetrics:
    """Counters of the VisionPool, on an injected registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.workers = Gauge("monitor_faces_workers", "Worker processes that have loaded the pack.", registry=registry)
        self.inference_processes = Gauge(
            "monitor_faces_inference_processes",
            "Processes that run the networks for all workers: one for each graphics card, else 0.",
            registry=registry,
        )
        self.provider = Gauge(
            "monitor_faces_provider_info",
            "Always 1: what runs the networks, what the recogniser computes in, and why.",
            ["provider", "precision", "reason"],
            registry=registry,
        )
        self.jobs_waiting = Gauge("monitor_faces_jobs_waiting", "Jobs that wait for a free worker.", registry=registry)
        self.job_seconds = Histogram(
            "monitor_faces_job_seconds",
            "Seconds from handing a job to a worker to its answer.",
            ["job"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.pictures = Counter(
            "monitor_faces_pictures_total", "Decoded pictures that were searched for faces.", registry=registry
        )
        self.unchanged = Counter(
            "monitor_faces_unchanged_pictures_total",
            "Decoded pictures that were not searched because they showed what the one before them did.",
            registry=registry,
        )
        self.faces = Counter(
            "monitor_faces_found_total",
            "Faces found, by whether they were embedded, and why not: settled (they resembled nobody shortly before "
            "and look the same), or refused by the quality gate: too_small, low_det_score, blurred, badly_lit, "
            "turned_away, distorted, cut_off, unclear, crowd.",
            ["verdict"],
            registry=registry,
        )
        self.frames_lost = Counter(
            "monitor_faces_frames_lost_total", "Jobs that gave no picture, by reason.", ["reason"], registry=registry
        )
        self.quarantined = Gauge(
            "monitor_faces_quarantined",
            "Different frames and images that are refused because each ended two workers.",
            registry=registry,
        )
        self.worker_exits = Counter(
            "monitor_faces_worker_exits_total",
            "Worker processes that ended while they were needed; each was replaced.",
            registry=registry,
        )
