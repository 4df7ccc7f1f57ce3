"""Sightings, identities and incidents as the stages before would hand them over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from typing import Any

import numpy as np

from monitor.faces.face import Box, PackInfo
from monitor.gallery.identity import Candidate, Consent, Identity, Match, Permission, Reference
from monitor.incidents.incident import Decision, Incident, IncidentKey, IncidentState
from monitor.sightings.presence import Presence
from monitor.sightings.sighting import Sample, Sighting
from monitor.streams.packet import EncodedFrame, Packet, VideoFormat
from monitor.streams.stream import BroadcastKind, Stream

START = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
STREAM_KEY = "very-secret-key"
ALL_KINDS = frozenset(BroadcastKind)
PACK = PackInfo(
    name="opencv-zoo",
    digest="d" * 64,
    dimension=128,
    licence="MIT",
    provider="cpu",
    similarity_threshold=0.41,
    candidate_threshold=0.3,
    margin=0.05,
)


def make_stream(room: str = "room-1", account: str = "obama-clone", **changes: Any) -> Stream:
    return replace(
        Stream(
            id=f"demo-{account}-{room}",
            url=f"rtmp://live.example.org/app/{STREAM_KEY}",
            platform="demo",
            account=account,
            room=room,
            title="Spring sale",
            products=("kettle", "lamp"),
        ),
        **changes,
    )


def make_permission(account: str = "obama-official", **changes: Any) -> Permission:
    return replace(Permission(platform="demo", account=account, kinds=ALL_KINDS), **changes)


def make_identity(*permissions: Permission, identity_id: str = "obama") -> Identity:
    return Identity(
        id=identity_id,
        names={"en": "Barack Obama", "zh": "贝拉克·奥巴马"},
        consent=Consent(basis="contract", date=date(2026, 1, 1), reference="file 12"),
        permissions=permissions,
    )


def make_reference(identity_id: str = "obama") -> Reference:
    return Reference(
        identity_id=identity_id,
        photo="portrait.jpg",
        photo_sha256="a" * 64,
        pack_digest=PACK.digest,
        embedding=np.full(128, 0.0883883, dtype=np.float32),
        crop_jpeg=b"\xff\xd8reference\xff\xd9",
        face_height_px=210.0,
    )


def make_sample(second: float = 0.0, similarity: float = 0.7, *, epoch: int = 1, data: bytes = b"idr") -> Sample:
    pts = int(second * 90000)
    at = START + timedelta(seconds=second)
    packet = Packet(data=data, pts=pts, dts=pts, is_keyframe=True, received_at=at)
    video = VideoFormat(codec="h264", extradata=None, width=1280, height=720, time_base=Fraction(1, 90000))
    frame = EncodedFrame(stream_id="demo", epoch=epoch, format=video, packets=(packet,), instants=(pts,))
    return Sample(
        stream_time=second,
        utc=at,
        box=Box(x1=100.0, y1=50.0, x2=220.0, y2=200.0),
        match=Match(
            best=Candidate(identity_id="obama", similarity=similarity, reference=make_reference()),
            runner_up=Candidate(identity_id="biden", similarity=0.1, reference=make_reference("biden")),
        ),
        frame=frame,
        pts=pts,
        picture_width=1280,
        picture_height=720,
    )


def make_sighting(
    seconds: Sequence[float] = (0.0, 1.0, 2.0),
    similarity: float = 0.7,
    *,
    sighting_id: str = "s1",
    epoch: int = 1,
    seen: int | None = None,
    presence: Presence = Presence.PRESENTER,
) -> Sighting:
    """A sighting whose samples stand at these seconds of the stream."""
    samples = tuple(make_sample(second, similarity, epoch=epoch) for second in seconds)
    return Sighting(
        id=sighting_id,
        stream_id="demo",
        identity_id="obama",
        first_seen=samples[0].utc,
        last_seen=samples[-1].utc,
        stream_time_first=seconds[0],
        stream_time_last=seconds[-1],
        samples=samples,
        best=samples[-1],
        samples_seen=seen or len(samples),
        samples_matched=len(samples),
        log_likelihood=30.0,
        log_likelihood_needed=20.0,
        presence=presence,
    )


def make_incident(incident_id: str = "01KJV8Q3C0000000000000000A", room: str = "room-1", **changes: Any) -> Incident:
    return replace(
        Incident(
            id=incident_id,
            key=IncidentKey(identity_id="obama", platform="demo", account="obama-clone", room=room),
            identity_name="Barack Obama",
            consent="contract, 2026-01-01, file 12",
            stream_id="demo",
            state=IncidentState.OPEN,
            decision=Decision.NO_PERMISSION,
            decision_detail="no permission for demo/obama-clone; permitted accounts on demo: obama-official",
            title="Spring sale, 春",
            products=("kettle", "lamp"),
            similarity=0.7123,
            margin=0.6012,
            similarity_threshold=0.41,
            samples_matched=3,
            samples_seen=4,
            face_height_px=150.0,
            seconds_on_screen=2.0,
            first_seen_at=START,
            opened_at=START + timedelta(seconds=3),
            last_seen_at=START + timedelta(seconds=2),
            violation_since=START + timedelta(seconds=3),
            stream_time_first=12.5,
            sequence=1,
            log_likelihood=14.2,
            log_likelihood_needed=9.7,
        ),
        **changes,
    )
