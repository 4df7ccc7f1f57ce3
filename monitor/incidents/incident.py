"""An incident: one identity shown by one account in one room, from first sighting until it is gone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from monitor.gallery.identity import Identity
from monitor.sightings.presence import Presence
from monitor.streams.stream import Stream


class Decision(StrEnum):
    """What the permission rules say of a sighting; all but ``permitted`` are violations."""

    PERMITTED = "permitted"
    NO_PERMISSION = "no_permission"
    PERMISSION_EXPIRED = "permission_expired"
    PERMISSION_NOT_YET_VALID = "permission_not_yet_valid"
    KIND_NOT_PERMITTED = "kind_not_permitted"
    TOO_MANY_ROOMS = "too_many_rooms"
    ACCOUNT_SUSPENDED = "account_suspended"

    @property
    def is_violation(self) -> bool:
        return self is not Decision.PERMITTED


class IncidentState(StrEnum):
    OPEN = "open"
    CLOSED = "closed"


class Transition(StrEnum):
    """What happened to an incident; receivers are told of each one of a violation."""

    OPENED = "opened"
    """A violation began (also: a permitted likeness lost its permission)."""
    UPDATED = "updated"
    """Another rule is violated now."""
    ESCALATED = "escalated"
    """The likeness is shown more prominently than before: what stood behind presents now."""
    RESOLVED = "resolved"
    """The likeness is gone for ``close_after``, or it is permitted now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentKey:
    """What makes two sightings the same incident."""

    identity_id: str
    platform: str
    account: str
    room: str

    @classmethod
    def of(cls, stream: Stream, identity: Identity) -> IncidentKey:
        """Of ``identity`` shown on ``stream``."""
        return cls(identity_id=identity.id, platform=stream.platform, account=stream.account, room=stream.room)

    @property
    def publisher(self) -> tuple[str, str, str]:
        """What the incidents of one account's rooms have in common: identity, platform, account."""
        return self.identity_id, self.platform, self.account


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """An incident as it is stored. A new state is a new object."""

    id: str
    """ULID: sorts by time of opening."""
    key: IncidentKey
    identity_name: str
    consent: str
    """On what ground the identity is enrolled, in words: basis, date and reference."""
    stream_id: str
    state: IncidentState
    decision: Decision
    decision_detail: str
    """The rule that was evaluated and why it failed, in words for the person on call."""
    title: str
    products: tuple[str, ...]
    similarity: float
    """Highest similarity so far."""
    margin: float
    """Margin to the runner-up at that sample."""
    similarity_threshold: float
    samples_matched: int
    samples_seen: int
    face_height_px: float
    seconds_on_screen: float
    first_seen_at: datetime
    """UTC of the first proving picture, before the evidence had passed."""
    opened_at: datetime
    last_seen_at: datetime
    violation_since: datetime | None = None
    """UTC at which the present or else the last violation began; None if there never was one."""
    closed_at: datetime | None = None
    stream_time_first: float = 0.0
    """Stream time in seconds of the first proving picture."""
    sequence: int = 0
    """Grows by one with every transition; orders the alerts of one incident."""
    manifest_sha256: str | None = None
    """Digest of the evidence manifest, once it is written."""
    presence: Presence = Presence.PRESENTER
    """The strongest of its sightings' so far."""

    @property
    def lacks_evidence(self) -> bool:
        """Whether it is a violation without evidence."""
        return self.decision.is_violation and self.manifest_sha256 is None


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineEntry:
    """One line of a case's history."""

    incident_id: str
    at: datetime
    event: str
    """``opened``, ``updated``, ``escalated``, ``resolved``, ``permitted``, ``closed``, ``evidence_recorded``."""
    reason: str
    detail: str
