"""The gallery at one moment: who is protected, by which photos, and what could not be used."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter
from types import MappingProxyType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from monitor.errors import GalleryError
from monitor.faces.face import Embedding
from monitor.gallery.identity import Identity, Match, Permission, Reference, RefusalReason, RefusedPhoto
from monitor.gallery.long_sequence import LongSequence, in_order
from monitor.gallery.matcher import Matcher

_ENCODER = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"))
_NEEDS_THE_OPERATOR = (RefusalReason.CLAIMED_BY_ANOTHER, RefusalReason.CONTRADICTORY, RefusalReason.TOO_ALIKE)


@dataclass(frozen=True, slots=True, kw_only=True)
class GallerySnapshot:
    """Never changes; a reader who keeps one sees one consistent gallery, whatever is synchronised meanwhile."""

    identities: Mapping[str, Identity]
    references: Sequence[Reference] = field(repr=False)
    """Sorted by identity and photo."""
    refused: tuple[RefusedPhoto, ...]
    errors: tuple[GalleryError, ...]
    """What needs the operator: an identity.yaml that was refused, a folder that cannot be used, an identity without
    any accepted photo, a photo that two identities claim."""
    digest: str
    """Hex SHA-256 over identities, permissions, photos and the pack; stands in the evidence."""
    matcher: Matcher = field(repr=False)
    look_alikes: tuple[Reference, ...] = field(default=(), repr=False)
    """Accepted photos of people who are mistaken for an identity, sorted as the references."""
    protected: frozenset[str] = field(default=frozenset(), repr=False)
    """The identities that have a reference."""

    @classmethod
    def empty(cls) -> Self:
        """Before the first sync: protects nobody."""
        return cls.build({}, (), refused=(), errors=())

    @classmethod
    def build(
        cls,
        identities: Mapping[str, Identity],
        references: Iterable[Reference],
        *,
        refused: Iterable[RefusedPhoto],
        errors: Iterable[GalleryError],
        undecided: Collection[str] = (),
        previous: GallerySnapshot | None = None,
    ) -> Self:
        """Sort, index and digest; adds the errors that only show once everything is together.

        :param references: no photo of two identities; look-alikes among them.
        :param undecided: identities with photos that nobody looked at yet, so that they are not called unprotected.
        :param previous: what this one replaces; a very large gallery that changed little is built the quicker for it.
        """
        every = LongSequence(in_order(references, _by_photo))
        accepted = LongSequence(reference for reference in every if not reference.look_alike)
        look_alikes = tuple(reference for reference in every if reference.look_alike)
        turned_down = tuple(in_order(refused, _by_photo))
        people = {identity_id: identities[identity_id] for identity_id in in_order(identities, str)}
        protected = frozenset(reference.identity_id for reference in accepted)
        unprotected = [id_ for id_ in people if id_ not in protected and id_ not in undecided]
        return cls(
            identities=MappingProxyType(people),
            references=accepted,
            refused=turned_down,
            errors=(*errors, *_claimed(turned_down), *_unprotected(unprotected, turned_down)),
            digest=gallery_digest(people, every),
            matcher=Matcher(accepted, None if previous is None else previous.matcher, look_alikes=look_alikes),
            look_alikes=look_alikes,
            protected=protected,
        )

    def match(self, embedding: Embedding) -> Match | None:
        """The identity that ``embedding`` (shape (D,)) is closest to, however far; None if there are no references."""
        return self.match_all(embedding[np.newaxis, :])[0]

    def match_all(self, embeddings: NDArray[np.float32]) -> list[Match | None]:
        """As ``match`` for each row of ``embeddings``, shape (n, D)."""
        return self.matcher.match_all(embeddings)

    def match_each(self, embeddings: Sequence[Embedding | None]) -> list[Match | None]:
        """As ``match`` for each face of a picture, in one search; None for a face that was not embedded."""
        known = [embedding for embedding in embeddings if embedding is not None]
        found = iter(self.match_all(np.stack(known)) if known else ())
        return [None if embedding is None else next(found) for embedding in embeddings]


def gallery_digest(identities: Mapping[str, Identity], references: Iterable[Reference]) -> str:
    """Hex SHA-256 that changes when an identity, a permission, an accepted photo or the pack changes.

    The order of folders, comments and spaces in identity.yaml do not matter.
    """
    digest = hashlib.sha256()
    # Piece by piece: a JSON encoder that is given all of a large gallery holds up the event loop until it has done.
    for piece in _canonical_pieces(identities, references):
        digest.update(piece.encode())
    return digest.hexdigest()


def _canonical_pieces(identities: Mapping[str, Identity], references: Iterable[Reference]) -> Iterator[str]:
    """A JSON object with sorted keys and no spaces: identities by their id, and a sorted array of the references."""
    yield '{"identities":{'
    for number, identity in enumerate(in_order(identities.values(), attrgetter("id"))):
        consent = [identity.consent.basis, identity.consent.date.isoformat(), identity.consent.reference]
        permissions = sorted((_canonical(permission) for permission in identity.permissions), key=json.dumps)
        yield ("," if number else "") + _json(identity.id) + ":" + _json([dict(identity.names), consent, permissions])
    yield '},"references":['
    of_identity = attrgetter("identity_id")
    for number, (_, photos) in enumerate(groupby(in_order(references, of_identity), of_identity)):
        yield ("," if number else "") + _json(sorted(_canonical_photo(photo) for photo in photos))[1:-1]
    yield "]}"


def _json(value: object) -> str:
    return _ENCODER.encode(value)


def _canonical_photo(reference: Reference) -> list[str]:
    photo = [reference.identity_id, reference.photo_sha256, reference.pack_digest]
    return [*photo, "look_alike"] if reference.look_alike else photo


def _canonical(permission: Permission) -> list[object]:
    return [
        permission.platform,
        permission.account,
        sorted(permission.kinds),
        str(permission.valid_from),
        str(permission.valid_until),
        permission.max_concurrent_rooms,
        permission.suspended,
    ]


def _claimed(refused: Sequence[RefusedPhoto]) -> list[GalleryError]:
    return [
        GalleryError(f"{photo.identity_id}/{photo.photo} {photo.detail}")
        for photo in refused
        if photo.reason in _NEEDS_THE_OPERATOR
    ]


def _unprotected(identities: Iterable[str], refused: Iterable[RefusedPhoto]) -> list[GalleryError]:
    refusals: defaultdict[str, list[RefusedPhoto]] = defaultdict(list)
    for photo in refused:
        refusals[photo.identity_id].append(photo)
    return [
        GalleryError(
            f"{identity_id}: nobody is protected by this folder, no photo in it was accepted; "
            + _remedy(refusals.get(identity_id, []))
        )
        for identity_id in identities
    ]


def _by_photo(photo: Reference | RefusedPhoto) -> tuple[str, str]:
    return photo.identity_id, photo.photo


def _remedy(refused: Sequence[RefusedPhoto]) -> str:
    if not refused:
        return "put a photo (.jpg, .jpeg, .png, .webp or .bmp) of this one person directly into it"
    return "refused: " + ", ".join(f"{photo.photo} ({photo.reason}: {photo.detail})" for photo in refused)
