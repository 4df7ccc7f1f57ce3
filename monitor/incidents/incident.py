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
class EvidenceRecord:
    """Evidence that is on disk and is never changed."""

    folder: str
    """Its folder's name below ``evidence.folder``."""
    manifest_sha256: str
    presence: Presence
    """How it shows the likeness."""


class EvidenceWish(StrEnum):
    """Why evidence is to be drawn."""

    FIRST = "first"
    """There is none yet."""
    ANEW = "anew"
    """What there is shows the likeness less prominently than it is shown now."""


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
    presence: Presence = Presence.PRESENTER
    """The strongest of its sightings' so far."""
    evidence: tuple[EvidenceRecord, ...] = ()
    """Oldest first; each shows the likeness more prominently than the one before, so there are at most four."""

    log_likelihood: float | None = None
    """The most that a sighting's pictures were worth: natural log of the likelihood ratio, this identity against a
    stranger. None for what an older version opened."""
    log_likelihood_needed: float | None = None
    """What the alert budget asked of that sighting."""

    @property
    def manifest_sha256(self) -> str | None:
        """Digest of the newest evidence's manifest, once there is one."""
        return self.evidence[-1].manifest_sha256 if self.evidence else None

    @property
    def evidence_folder(self) -> str:
        """Name of the newest evidence's folder, or of the one that the first will be in."""
        return self.evidence[-1].folder if self.evidence else self.id

    def evidence_wish(self, presence: Presence) -> EvidenceWish | None:
        """Whether a sighting of it that is shown as ``presence`` is worth evidence: of a violation only."""
        if not self.decision.is_violation:
            return None
        if not self.evidence:
            return EvidenceWish.FIRST
        return EvidenceWish.ANEW if presence.strength > self.evidence[-1].presence.strength else None

    def next_evidence_folder(self, presence: Presence) -> str:
        """Name of the folder for evidence that shows it as ``presence``: a name of its own for each presence, so that a
        process that is killed before it has noted what it wrote finds it again."""
        return f"{self.id}-{presence}" if self.evidence else self.id


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineEntry:
    """One line of a case's history."""

    incident_id: str
    at: datetime
    event: str
    """``opened``, ``updated``, ``escalated``, ``resolved``, ``permitted``, ``closed``, ``evidence_recorded``."""
    reason: str
    detail: str
