"""What one analysed picture says about the person it is known to show. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from monitor.evaluation.openset import NOBODY
from monitor.faces.config import FacesConfig
from monitor.faces.face import Embedding, Face, PackInfo, PictureFaces
from monitor.faces.gate import GateVerdict, judge
from monitor.gallery.snapshot import GallerySnapshot
from monitor.sightings.evidence import assess_match
from monitor.sightings.sighting import EvidenceVerdict


class PictureVerdict(StrEnum):
    """Whether a picture shows the person it should, or the first reason why not."""

    MATCHED = "matched"
    NO_FACE = "no_face"
    """The detector found nothing."""
    TOO_SMALL = "too_small"
    LOW_DET_SCORE = "low_det_score"
    BLURRED = "blurred"
    BADLY_LIT = "badly_lit"
    TURNED_AWAY = "turned_away"
    DISTORTED = "distorted"
    CUT_OFF = "cut_off"
    UNCLEAR = "unclear"
    CROWD = "crowd"
    BELOW_SIMILARITY = "below_similarity"
    SMALL_MARGIN = "small_margin"
    LOOK_ALIKE = "look_alike"
    SOMEBODY_ELSE = "somebody_else"
    """Another identity is nearer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureReading:
    """One picture against one gallery."""

    verdict: PictureVerdict
    similarity: float | None
    """To the person it shows, or to whoever is nearest where that person is not enrolled; None without an embedded
    face."""
    searched: float
    """As :class:`monitor.evaluation.openset.Searches` wants it."""


def read_picture(
    picture: PictureFaces, identity: str, gallery: GallerySnapshot, pack: PackInfo, config: FacesConfig
) -> PictureReading:
    """Compare the faces of ``picture``, which is known to show ``identity``, enrolled or not."""
    embedded = [face.embedding for face in picture.faces if face.embedding is not None]
    if not embedded:
        return PictureReading(verdict=_unseen(picture.faces, config), similarity=None, searched=NOBODY)
    mated = any(reference.identity_id == identity for reference in gallery.references)
    similarities = [_similarity(one, identity if mated else None, gallery) for one in embedded]
    best = int(np.argmax(similarities))
    match = gallery.match(embedded[best])
    assert match is not None, "an evaluated gallery has references"
    ranked = not mated or match.best.identity_id == identity
    verdict = _VERDICTS[assess_match(match, pack)] if ranked else PictureVerdict.SOMEBODY_ELSE
    return PictureReading(
        verdict=verdict, similarity=similarities[best], searched=similarities[best] if ranked else NOBODY
    )


_VERDICTS = {
    EvidenceVerdict.PASSED: PictureVerdict.MATCHED,
    EvidenceVerdict.NOBODY_PROTECTED: PictureVerdict.BELOW_SIMILARITY,
    EvidenceVerdict.BELOW_SIMILARITY: PictureVerdict.BELOW_SIMILARITY,
    EvidenceVerdict.SMALL_MARGIN: PictureVerdict.SMALL_MARGIN,
    EvidenceVerdict.LOOK_ALIKE: PictureVerdict.LOOK_ALIKE,
}


def _similarity(embedding: Embedding, identity: str | None, gallery: GallerySnapshot) -> float:
    """The highest over the references of ``identity``, or over all."""
    return max(
        float(np.dot(embedding, reference.embedding))
        for reference in gallery.references
        if identity is None or reference.identity_id == identity
    )


def _unseen(faces: Sequence[Face], config: FacesConfig) -> PictureVerdict:
    if not faces:
        return PictureVerdict.NO_FACE
    tallest = max(faces, key=lambda face: face.box.height)
    verdict = judge(tallest.box, tallest.det_score, tallest.quality, config)
    # What passes the gate was embedded, unless there were too many.
    return PictureVerdict.CROWD if verdict is GateVerdict.EMBEDDED else PictureVerdict(verdict.value)
