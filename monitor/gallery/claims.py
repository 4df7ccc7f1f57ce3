"""Whom a photo stands for when it lies in the folders of several people."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from monitor.gallery.identity import Reference, RefusalReason, RefusedPhoto
from monitor.gallery.long_sequence import LongSequence


def settle_claims(
    references: Sequence[Reference], before: Iterable[Reference], age: Callable[[Reference], Any]
) -> tuple[Sequence[Reference], list[RefusedPhoto]]:
    """The references of one identity for each photo, and what is refused of the others.

    Standing for two people a photo would be of no use: their margin to each other would always be nought. The
    identity that held it keeps it, so that nobody loses their protection to a copy.

    :param before: those that stood until now.
    :param age: what sorts references, the oldest file first; a photo that nobody held belongs to the identity whose
        file is older.
    """
    claims: defaultdict[str, list[Reference]] = defaultdict(list)
    for contested in _contested(references):
        claims[contested.photo_sha256].append(contested)
    if not claims:
        return references, []
    holders = {one.photo_sha256: one.identity_id for one in before if one.photo_sha256 in claims}
    refused: dict[int, RefusedPhoto] = {}
    for sha256, claim in claims.items():
        claim.sort(key=age)
        holder = next((one for one in claim if one.identity_id == holders.get(sha256)), claim[0])
        refused |= {id(one): _refused(one, holder) for one in claim if one.identity_id != holder.identity_id}
    return LongSequence(one for one in references if id(one) not in refused), list(refused.values())


def _contested(references: Sequence[Reference]) -> list[Reference]:
    """All that share their photo with another."""
    # Sorted numbers instead of a dict of so many, which the garbage collector would have to walk through.
    hashes = np.fromiter((hash(one.photo_sha256) for one in references), np.int64, len(references))
    ascending = np.sort(hashes)
    several = set(ascending[1:][ascending[1:] == ascending[:-1]].tolist())
    return [one for one in references if hash(one.photo_sha256) in several] if several else []


def _refused(newcomer: Reference, holder: Reference) -> RefusedPhoto:
    return RefusedPhoto(
        identity_id=newcomer.identity_id,
        photo=newcomer.photo,
        reason=RefusalReason.CLAIMED_BY_ANOTHER,
        detail=f"is the same photo as {holder.identity_id}/{holder.photo} and stands for {holder.identity_id}; leave "
        "it only in the folder of the person it shows",
    )
