"""A protected person, the photos accepted of them, and who may show them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum

from monitor.faces.face import Embedding
from monitor.streams.stream import BroadcastKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """On what ground this person's face is enrolled."""

    basis: str
    date: date
    reference: str
    """Where the proof lies: a contract number, a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """One account that may show an identity."""

    platform: str
    account: str
    kinds: frozenset[BroadcastKind]
    valid_from: date | None = None
    """First day (UTC) of validity."""
    valid_until: date | None = None
    """Last day (UTC) of validity."""
    max_concurrent_rooms: int | None = None
    suspended: bool = False
    """The team withdrew it for the time being; the account then violates ``account_suspended``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A protected person."""

    id: str
    """The folder's name."""
    names: Mapping[str, str]
    """Language tag to name; at least one."""
    consent: Consent
    permissions: tuple[Permission, ...] = ()

    @property
    def name(self) -> str:
        """The English name, or the first that is given."""
        return self.names.get("en") or next(iter(self.names.values()))


class RefusalReason(StrEnum):
    """Why a photo was not accepted as a reference."""

    UNREADABLE = "unreadable"
    NO_FACE = "no_face"
    SEVERAL_FACES = "several_faces"
    FACE_TOO_SMALL = "face_too_small"
    BLURRED = "blurred"
    CLAIMED_BY_ANOTHER = "claimed_by_another"
    """The same photo lies in the folder of another person, who had it first."""
    CONTRADICTORY = "contradictory"
    """A look-alike's photo that also lies among the person's own."""
    TOO_ALIKE = "too_alike"
    """A look-alike's photo that most likely shows the person; taken as theirs not to be, it would hide them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """One accepted photo of an identity."""

    identity_id: str
    photo: str
    """File name inside the identity's folder."""
    photo_sha256: str
    pack_digest: str
    embedding: Embedding = field(repr=False)
    crop_jpeg: bytes = field(repr=False)
    """The face cut out, to be shown beside a live crop."""
    face_height_px: float
    look_alike: bool = False
    """The photo shows somebody who is not the identity, and is mistaken for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedPhoto:
    """A photo that was not accepted, and why."""

    identity_id: str
    photo: str
    reason: RefusalReason
    detail: str
    """What was measured and what is needed: ``face is 41 px high, at least 80 needed``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An identity that a probe resembles."""

    identity_id: str
    similarity: float
    """Cosine, -1 to 1; higher is closer."""
    reference: Reference


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """The best candidate of a probe and the next identity behind it."""

    best: Candidate
    runner_up: Candidate | None
    look_alike: Candidate | None = None
    """The nearest of the best identity's look-alikes; None if it has none."""

    @property
    def margin(self) -> float:
        """Similarity of the best minus that of the runner-up; against nobody it is the similarity itself."""
        return self.best.similarity - (self.runner_up.similarity if self.runner_up else 0.0)
