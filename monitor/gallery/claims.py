"""Whom a photo stands for when it lies in the folders of several people."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from monitor.gallery.identity import Reference, RefusalReason, RefusedPhoto


def settle_claims(
    references: Iterable[Reference], holders: Mapping[str, str]
) -> tuple[list[Reference], list[RefusedPhoto]]:
    """The references of one identity for each photo, and what is refused of the others.

    Standing for two people a photo would be of no use: their margin to each other would always be nought. The
    identity that held it keeps it, so that nobody loses their protection to a copy.

    :param references: the oldest file first; a photo that nobody held belongs to the identity whose file is older.
    :param holders: a photo's hex SHA-256 to the identity that it stood for until now.
    """
    claims: defaultdict[str, list[Reference]] = defaultdict(list)
    for reference in references:
        claims[reference.photo_sha256].append(reference)
    kept: list[Reference] = []
    refused: list[RefusedPhoto] = []
    for sha256, claim in claims.items():
        holder = next((one for one in claim if one.identity_id == holders.get(sha256)), claim[0])
        kept += [one for one in claim if one.identity_id == holder.identity_id]
        refused += [_refused(one, holder) for one in claim if one.identity_id != holder.identity_id]
    return kept, refused


def _refused(newcomer: Reference, holder: Reference) -> RefusedPhoto:
    return RefusedPhoto(
        identity_id=newcomer.identity_id,
        photo=newcomer.photo,
        reason=RefusalReason.CLAIMED_BY_ANOTHER,
        detail=f"is the same photo as {holder.identity_id}/{holder.photo} and stands for {holder.identity_id}; leave "
        "it only in the folder of the person it shows",
    )
