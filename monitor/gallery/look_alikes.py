"""Which photos in a person's ``not/`` folder are taken as photos of somebody else.

A wrong one would hide the person whom it should protect, so the doubtful are refused, and the operator is told.
"""

from __future__ import annotations

from collections.abc import Sequence

from monitor.gallery.identity import Reference, RefusalReason, RefusedPhoto


def settle_look_alikes(
    look_alikes: Sequence[Reference], references: Sequence[Reference], similarity_threshold: float
) -> tuple[list[Reference], list[RefusedPhoto]]:
    """The look-alikes that are taken, and what is refused.

    Refused is a photo that lies among the person's own too, and one that resembles one of those so much that it shows
    the person: a quarter of the way from the threshold to the same picture, or more. A person's own photos lie
    beyond that about three times in four, other people's hardly ever.

    :param references: the photos that stand for the people themselves.
    :param similarity_threshold: the pack's; a cosine.
    """
    owners: dict[str, list[Reference]] = {one.identity_id: [] for one in look_alikes}
    if owners:
        for own in references:
            if own.identity_id in owners:
                owners[own.identity_id].append(own)
    kept: list[Reference] = []
    refused: list[RefusedPhoto] = []
    for one in look_alikes:
        doubt = _doubt(one, owners[one.identity_id], similarity_threshold)
        if doubt is None:
            kept.append(one)
        else:
            reason, detail = doubt
            refused.append(RefusedPhoto(identity_id=one.identity_id, photo=one.photo, reason=reason, detail=detail))
    return kept, refused


def _doubt(one: Reference, own: Sequence[Reference], similarity_threshold: float) -> tuple[RefusalReason, str] | None:
    limit = similarity_threshold + (1 - similarity_threshold) / 4
    for reference in own:
        if reference.photo_sha256 == one.photo_sha256:
            return RefusalReason.CONTRADICTORY, f"is the same photo as {reference.photo}; leave it in one place only"
    for reference in own:
        similarity = float(reference.embedding @ one.embedding)
        if similarity >= limit:
            return (
                RefusalReason.TOO_ALIKE,
                f"resembles {reference.photo} by {similarity:.2f}, less than {limit:.2f} needed; it seems to show them",
            )
    return None
