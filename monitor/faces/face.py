"""A face in a picture, with what was measured of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

Embedding = NDArray[np.float32]
"""Shape (D,), L2-normalised; comparable only within one pack digest."""

GRID_SIDE = 20
"""Cells across and down in a face's coarse grid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """Corners in pixels of the decoded picture; x to the right, y down."""

    x1: float
    y1: float
    x2: float
    y2: float

    @property
    def width(self) -> float:
        return self.x2 - self.x1

    @property
    def height(self) -> float:
        return self.y2 - self.y1

    def overlap(self, other: Box) -> float:
        """Intersection over union, 0 to 1."""
        width = min(self.x2, other.x2) - max(self.x1, other.x1)
        height = min(self.y2, other.y2) - max(self.y1, other.y1)
        if width <= 0 or height <= 0:
            return 0.0
        shared = width * height
        return shared / (self.width * self.height + other.width * other.height - shared)


class QualityFactor(StrEnum):
    """What a face's quality is made of."""

    SIZE = "size"
    SHARPNESS = "sharpness"
    LIGHT = "light"
    POSE = "pose"
    FIT = "fit"
    """Of the landmarks: five points that are no face's come from something else, or from a face half hidden."""
    INSIDE = "inside"
    CLARITY = "clarity"
    """As a network judges it; only with ``faces.quality_network``."""


QUALITY_WEIGHTS: Mapping[QualityFactor, float] = MappingProxyType(
    {
        QualityFactor.SIZE: 0.15,
        QualityFactor.SHARPNESS: 0.25,
        QualityFactor.LIGHT: 0.1,
        QualityFactor.POSE: 0.15,
        QualityFactor.FIT: 0.1,
        QualityFactor.INSIDE: 0.25,
        QualityFactor.CLARITY: 0.25,
    }
)
"""Exponents of the factors, once divided by the sum of those that were measured: 1 without the network."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """Measurements that decide whether a face may be embedded."""

    sharpness: float
    """Variance of the Laplacian of the aligned 112 x 112 grey crop (Pech-Pacheco 2000); below about 12 the
    same person is hardly known any more."""
    brightness: float
    """Mean luma of the aligned crop, 0 to 255."""
    height_px: float = 112.0
    """The box's height."""
    landmark_residual: float = 0.0
    """Root mean square distance of the aligned landmarks from the template, in distances between the eyes."""
    yaw: float = 0.0
    """Degrees, as pitch and roll; see :func:`monitor.faces.pose.pose_of`."""
    pitch: float = 0.0
    roll: float = 0.0
    inside: float = 1.0
    """Share of the aligned crop that lies within the picture."""
    clarity: float | None = None
    """What the quality network says of the aligned crop, about 0 to 1; None where it was not asked, or is not there."""

    @property
    def factors(self) -> Mapping[QualityFactor, float]:
        """How little each measurement harms the comparison: 0 for hopeless, 1 for not at all.

        Clarity is judged by what is published of eDifFIQA(T), not by own measuring: photos of Labeled Faces in the Wild
        get more than 0.5, the degraded ones of Cross-Quality LFW much less (OpenCV Zoo). From which number on a
        comparison is hopeless nobody says, so that only 0 is.
        """
        turned = math.cos(math.radians(self.yaw)), math.cos(math.radians(self.pitch))
        factors = {
            QualityFactor.SIZE: _ramp(self.height_px, 12, 80),
            QualityFactor.SHARPNESS: _ramp(math.log(max(1.0, self.sharpness)), math.log(4), math.log(100)),
            QualityFactor.LIGHT: min(_ramp(self.brightness, 3, 40), _ramp(self.brightness, 252, 200)),
            QualityFactor.POSE: max(0.0, turned[0]) * max(0.0, turned[1]),
            QualityFactor.FIT: _ramp(self.landmark_residual, 0.4, 0.1),
            QualityFactor.INSIDE: _ramp(self.inside, 0.4, 0.8),
        }
        if self.clarity is not None:
            factors[QualityFactor.CLARITY] = _ramp(self.clarity, 0.0, 0.5)
        return factors

    @property
    def value(self) -> float:
        """All in one, 0 to 1: the factors' geometric mean, weighted as :data:`QUALITY_WEIGHTS` says.

        Without clarity, over four portraits and a talking head, shrunk, blurred, darkened, cut and tilted, its rank
        correlation with the similarity to another picture of the same person is 0.6.
        """
        factors = self.factors
        # Exactly 1 without clarity: fsum rounds once.
        together = math.fsum(QUALITY_WEIGHTS[name] for name in factors)
        return math.prod(math.pow(factor, QUALITY_WEIGHTS[name] / together) for name, factor in factors.items())


def _ramp(value: float, nothing: float, full: float) -> float:
    """0 at ``nothing`` and beyond, 1 at ``full`` and beyond, straight in between."""
    return min(1.0, max(0.0, (value - nothing) / (full - nothing)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Face:
    """One detected face. ``embedding`` is None where the quality gate refused it, and where it is settled."""

    box: Box
    landmarks: NDArray[np.float32] = field(repr=False)
    """Shape (5, 2), pixels: right eye, left eye, nose, right and left mouth corner, as an upright face
    shows them from left to right."""
    det_score: float
    """The detector's confidence, 0 to 1."""
    quality: Quality
    embedding: Embedding | None = field(repr=False)
    grid: bytes = field(default=b"", repr=False)
    """Mean luma of ``GRID_SIDE`` x ``GRID_SIDE`` cells of the aligned crop, row by row; empty for a face that is
    neither embedded nor settled. Like an embedding it is kept only while its track lives, and never written."""
    inset: Box | None = None
    """The straight-edged upright frame around it, as of a picture in picture; looked for only beside a larger face."""
    settled: int | None = None
    """The number of the :class:`SettledFace` that it was taken for instead of being embedded."""

    def __post_init__(self) -> None:
        if self.landmarks.shape != (5, 2):
            raise ValueError(f"landmarks have shape {self.landmarks.shape}, expected (5, 2)")
        if self.embedding is not None and self.embedding.ndim != 1:
            raise ValueError(f"embedding has shape {self.embedding.shape}, expected (D,)")


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureFaces:
    """All faces of one decoded picture."""

    pts: int
    """Presentation time of the picture that was decoded for the wanted instant; 0 for an image file."""
    width: int
    height: int
    faces: tuple[Face, ...]
    luma: bytes = field(default=b"", repr=False)
    """The picture's :func:`monitor.faces.luma.luma_hash`; empty for an image file."""
    unchanged: bool = False
    """The picture shows what the one that was known before did, and was not searched: ``faces`` says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SettledFace:
    """A face that resembles nobody protected, and need not be embedded while it looks as it did when it last was."""

    number: int
    """What it is called in the answer; several looks of one face share it."""
    box: Box
    """Where it was seen last."""
    quality: Quality
    """Of a picture in which it was embedded, as ``grid``."""
    grid: bytes = field(repr=False)
    """As in :class:`Face`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What is known of a room before its next picture."""

    faces: tuple[SettledFace, ...]
    luma: bytes = field(repr=False)
    """As in :class:`PictureFaces`, of the picture before: after a scene cut nobody is settled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidencePictures:
    """JPEG files drawn by a worker for one face; all other faces are made unrecognisable."""

    frame_jpeg: bytes = field(repr=False)
    """The whole picture with the box drawn."""
    crop_jpeg: bytes = field(repr=False)
    """The face with some surroundings, no box drawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackInfo:
    """Which networks are loaded, and the thresholds that go with them."""

    name: str
    digest: str
    """SHA-256 over the files' digests; embeddings of different digests are never compared."""
    dimension: int
    licence: str
    provider: str
    """What runs it: ``cpu``, ``cuda``, ``tensorrt`` or ``openvino``."""
    similarity_threshold: float
    """Cosine from which a probe counts as the identity."""
    candidate_threshold: float
    """Cosine from which a probe is worth a burst of denser samples."""
    margin: float
    """Least cosine distance between the best and the second identity."""
    precision: str = "float32"
    """What it computes in: ``float32`` or ``bfloat16``."""
    quality_digest: str | None = None
    """SHA-256 of the quality network's file; None without one. Not in ``digest``: embeddings do not depend on it."""
    provider_reason: str = field(default="", compare=False)
    """Why that provider and precision, for an operator; with times, which differ from one start to the next."""
