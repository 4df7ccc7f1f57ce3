"""Decides whether a face is good enough to be embedded. Imports no image library: the event loop uses it too."""

from __future__ import annotations

from enum import StrEnum

from monitor.faces.config import FacesConfig
from monitor.faces.face import Box, Quality


class GateVerdict(StrEnum):
    """Why a face was, or was not, embedded: the metric's label and the log's word."""

    EMBEDDED = "embedded"
    TOO_SMALL = "too_small"
    LOW_DET_SCORE = "low_det_score"
    BLURRED = "blurred"
    CROWD = "crowd"


def judge(box: Box, det_score: float, quality: Quality, config: FacesConfig) -> GateVerdict:
    """The first rule that the face breaks, or ``EMBEDDED``."""
    if box.height < config.min_face_px:
        return GateVerdict.TOO_SMALL
    if det_score < config.min_det_score:
        return GateVerdict.LOW_DET_SCORE
    if quality.sharpness < config.min_sharpness:
        return GateVerdict.BLURRED
    return GateVerdict.EMBEDDED
