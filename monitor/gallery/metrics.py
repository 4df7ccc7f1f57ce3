"""The gallery's metrics."""

from __future__ import annotations

from collections import Counter as Tally

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from monitor.gallery.identity import RefusalReason
from monitor.gallery.snapshot import GallerySnapshot


class GalleryMetrics:
    """What a scrape shows of the gallery in use."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.identities = Gauge(
            "monitor_gallery_identities", "People with an accepted photo in the gallery in use.", registry=registry
        )
        self.references = Gauge(
            "monitor_gallery_references", "Accepted photos in the gallery in use.", registry=registry
        )
        self.look_alikes = Gauge(
            "monitor_gallery_look_alikes",
            "Accepted photos of people who are mistaken for a protected one.",
            registry=registry,
        )
        self.refused = Gauge(
            "monitor_gallery_refused_photos",
            "Photos in the gallery's folder that were not accepted, by reason.",
            ["reason"],
            registry=registry,
        )
        self.errors = Gauge(
            "monitor_gallery_errors", "Identities and folders of the gallery that need the operator.", registry=registry
        )
        self.syncs = Counter(
            "monitor_gallery_syncs",
            "Times the gallery's folder was read: changed, unchanged or failed.",
            ["result"],
            registry=registry,
        )
        self.sync_seconds = Histogram(
            "monitor_gallery_sync_seconds",
            "Seconds from the start of reading the folder until every photo in it was enrolled or refused.",
            buckets=(0.01, 0.05, 0.1, 0.5, 1, 2, 5, 15, 60, 300),
            registry=registry,
        )
        for reason in RefusalReason:
            self.refused.labels(reason)
        for result in ("changed", "unchanged", "failed"):
            self.syncs.labels(result)

    def show(self, snapshot: GallerySnapshot) -> None:
        """Set the gauges to what ``snapshot`` holds."""
        self.identities.set(len(snapshot.protected))
        self.references.set(len(snapshot.references))
        self.look_alikes.set(len(snapshot.look_alikes))
        self.errors.set(len(snapshot.errors))
        tally = Tally(refused.reason for refused in snapshot.refused)
        for reason in RefusalReason:
            self.refused.labels(reason).set(tally[reason])
