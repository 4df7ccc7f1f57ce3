"""The manifest: what was seen, by what, under which settings, and the digests of the files beside it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from monitor.clock import iso_utc
from monitor.faces.face import Box, PackInfo
from monitor.gallery.identity import Identity, Reference
from monitor.incidents.incident import Incident
from monitor.sightings.presence import Bearing
from monitor.sightings.sighting import Sample, Sighting
from monitor.streams.stream import Stream

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
FRAME = "frame.jpg"
CROP = "crop.jpg"
REFERENCE = "reference.jpg"


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What was found, and with what."""

    stream: Stream
    identity: Identity
    sighting: Sighting
    pack: PackInfo
    gallery_digest: str
    shown: Sample
    """The sighting's sample that is drawn."""


def manifest_bytes(
    incident: Incident,
    findings: Findings,
    *,
    files: Mapping[str, bytes],
    software_version: str,
    recorded_at: datetime,
) -> bytes:
    """The manifest as canonical JSON: sorted keys, no spaces, UTF-8, a line feed at the end.

    It holds measurements only, never an embedding, and the stream's address redacted.

    :param files: file name to content, as they lie beside the manifest.
    """
    identity, sighting = findings.identity, findings.sighting
    document = {
        "format": "likeness-evidence",
        "format_version": FORMAT_VERSION,
        "incident": _incident(incident),
        "identity": {"id": identity.id, "name": identity.name, "names": dict(identity.names)},
        "stream": _stream(findings.stream),
        "sighting": _sighting(sighting),
        "samples": [_sample(sample) for sample in sighting.samples],
        "shown_sample": _sample(findings.shown),
        "reference": _reference(findings.shown.match.best.reference),
        "files": {name: sha256(content) for name, content in files.items()},
        "other_faces": "made unrecognisable",
        "recorded_at": iso_utc(recorded_at),
        "software_version": software_version,
        "gallery_digest": findings.gallery_digest,
        **_pack(findings.pack),
    }
    return canonical(document)


def canonical(document: Mapping[str, Any]) -> bytes:
    """The one way in which a document is written, so that its digest can be computed again."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return f"{text}\n".encode()


def sha256(content: bytes) -> str:
    """Hex digest."""
    return hashlib.sha256(content).hexdigest()


def _incident(incident: Incident) -> dict[str, Any]:
    return {
        "id": incident.id,
        "opened_at": iso_utc(incident.opened_at),
        "decision": str(incident.decision),
        "decision_detail": incident.decision_detail,
        "earlier_manifests_sha256": [record.manifest_sha256 for record in incident.evidence],
    }


def _stream(stream: Stream) -> dict[str, Any]:
    return {
        "id": stream.id,
        "url": stream.redacted_url,
        "platform": stream.platform,
        "account": stream.account,
        "room": stream.room,
        "title": stream.title,
        "products": list(stream.products),
        "kind": str(stream.kind),
    }


def _sighting(sighting: Sighting) -> dict[str, Any]:
    return {
        "id": sighting.id,
        "first_seen": iso_utc(sighting.first_seen),
        "last_seen": iso_utc(sighting.last_seen),
        "stream_time_first": round(sighting.stream_time_first, 6),
        "stream_time_last": round(sighting.stream_time_last, 6),
        "samples_seen": sighting.samples_seen,
        "samples_matched": sighting.samples_matched,
        "log_likelihood": round(sighting.log_likelihood, 4),
        "log_likelihood_needed": round(sighting.log_likelihood_needed, 4),
        "presence": str(sighting.presence),
        "presence_measured": _bearing(sighting.bearing) if sighting.bearing else None,
    }


def _sample(sample: Sample) -> dict[str, Any]:
    keyframe = sample.frame.packets[0]
    runner_up, look_alike = sample.match.runner_up, sample.match.look_alike
    return {
        "utc": iso_utc(sample.utc),
        "stream_time": round(sample.stream_time, 6),
        "epoch": sample.frame.epoch,
        "pts": sample.pts,
        "box_px": _box(sample.box),
        "picture_px": [sample.picture_width, sample.picture_height],
        "similarity": round(sample.match.best.similarity, 6),
        "identity_id": sample.match.best.identity_id,
        "margin": round(sample.match.margin, 6),
        "quality": round(sample.view.quality, 4) if sample.view else None,
        "runner_up": runner_up.identity_id if runner_up else None,
        "look_alike": round(look_alike.similarity, 6) if look_alike else None,
        "encoded_keyframe": {
            "codec": sample.frame.format.codec,
            "pts": keyframe.pts,
            "bytes": len(keyframe.data),
            "sha256": sha256(keyframe.data),
            "received_at": iso_utc(keyframe.received_at),
        },
    }


def _bearing(bearing: Bearing) -> dict[str, Any]:
    return {
        "views": bearing.views,
        "face_share": round(bearing.face_share, 4),
        "rigidity": None if bearing.rigidity is None else round(bearing.rigidity, 4),
        "travel_face_heights": round(bearing.travel, 4),
        "highest_other_face": round(bearing.outshone, 4),
        "highest_other_face_rigidity": None if bearing.rival_rigidity is None else round(bearing.rival_rigidity, 4),
        "framed_share": round(bearing.framed, 4),
    }


def _reference(reference: Reference) -> dict[str, Any]:
    return {"photo": reference.photo, "photo_sha256": reference.photo_sha256}


def _box(box: Box) -> list[float]:
    return [round(float(corner), 2) for corner in (box.x1, box.y1, box.x2, box.y2)]


def _pack(pack: PackInfo) -> dict[str, Any]:
    return {
        "pack": {"name": pack.name, "digest": pack.digest, "provider": pack.provider},
        "quality_network_sha256": pack.quality_digest,
        "thresholds": {"similarity": round(pack.similarity_threshold, 6), "margin": round(pack.margin, 6)},
    }
