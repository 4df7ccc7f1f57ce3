"""Decides whether a face is good enough to be embedded. Imports no image library: the event loop uses it too."""

from __future__ import annotations

from enum import StrEnum

from monitor.faces.config import FacesConfig
from monitor.faces.face import QUALITY_WEIGHTS, Box, Quality, QualityFactor


class GateVerdict(StrEnum):
    """Why a face was, or was not, embedded: the metric's label and the log's word."""

    EMBEDDED = "embedded"
    SETTLED = "settled"
    """It was embedded shortly before, resembled nobody and looks the same."""
    TOO_SMALL = "too_small"
    LOW_DET_SCORE = "low_det_score"
    BLURRED = "blurred"
    BADLY_LIT = "badly_lit"
    TURNED_AWAY = "turned_away"
    DISTORTED = "distorted"
    CUT_OFF = "cut_off"
    UNCLEAR = "unclear"
    """The quality network makes little of it."""
    CROWD = "crowd"


_BY_FACTOR = {
    QualityFactor.SIZE: GateVerdict.TOO_SMALL,
    QualityFactor.SHARPNESS: GateVerdict.BLURRED,
    QualityFactor.LIGHT: GateVerdict.BADLY_LIT,
    QualityFactor.POSE: GateVerdict.TURNED_AWAY,
    QualityFactor.FIT: GateVerdict.DISTORTED,
    QualityFactor.INSIDE: GateVerdict.CUT_OFF,
    QualityFactor.CLARITY: GateVerdict.UNCLEAR,
}


def judge(box: Box, det_score: float, quality: Quality, config: FacesConfig) -> GateVerdict:
    """The first rule that the face breaks, or ``EMBEDDED``; for its quality as a whole, what harms that most."""
    if box.height < config.min_face_px:
        return GateVerdict.TOO_SMALL
    if det_score < config.min_det_score:
        return GateVerdict.LOW_DET_SCORE
    if quality.sharpness < config.min_sharpness:
        return GateVerdict.BLURRED
    if quality.value < config.min_quality:
        factors = quality.factors
        return _BY_FACTOR[min(factors, key=lambda name: factors[name] ** QUALITY_WEIGHTS[name])]
    return GateVerdict.EMBEDDED
