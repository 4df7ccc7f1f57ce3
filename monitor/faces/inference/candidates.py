"""Finds faces with a network that gives only its best cells: :func:`monitor.faces.inference.graph.yunet_graph`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from monitor.faces.detect import REPORTED_FROM, Detections, fit, merged, restored

VALUES_OF_A_CANDIDATE = 16

Candidates = NDArray[np.float32]
"""Shape (n, 16), the surest cell of a picture first. Of each cell its confidence, its number, and then what the
network's own heads say of box (4) and landmarks (10)."""

Decode = Callable[[Candidates, int, int, float], Detections]
"""Candidates, width and height of the network's input in pixels, and the least det_score, to detections there."""

_STRIDES = (8, 16, 32)
_SCRFD_ANCHORS = 2


class CandidateNetwork(Protocol):
    """Something that runs a detector."""

    def candidates(self, pictures: Sequence[NDArray[np.uint8]]) -> list[Candidates]:
        """The best cells of each picture (shape (h, w, 3), BGR, sides multiples of 32; several sizes may be mixed)."""


class CandidateDetector:
    """A :class:`monitor.faces.detect.Detector`."""

    def __init__(
        self,
        network: CandidateNetwork,
        decode: Decode,
        sides: Sequence[int],
        *,
        fixed_size: tuple[int, int] | None = None,
        reported_from: float = REPORTED_FROM,
    ) -> None:
        """
        :param sides: long sides at which a picture is searched, the largest first.
        :param fixed_size: width and height of the only input that the network takes.
        :param reported_from: det_score of the weakest detection that is given out.
        """
        self._network = network
        self._decode = decode
        self._sides = tuple(sides)
        self._fixed_size = fixed_size
        self._reported_from = reported_from

    def detect(self, picture: NDArray[np.uint8]) -> Detections:
        """All faces of ``picture`` (shape (H, W, 3), BGR); all searches go to the network at once."""
        fitted = [fit(picture, self._sides[0])]
        fitted += [fit(picture, side, larger=fitted[0]) for side in self._sides[1:]]
        sizes = [self._fixed_size or each.canvas_size for each in fitted]
        shown = [each.on_canvas(size) for each, size in zip(fitted, sizes, strict=True)]
        found = self._network.candidates(shown)
        return merged(
            [
                restored(self._decode(candidates, *size, self._reported_from), each)
                for candidates, size, each in zip(found, sizes, fitted, strict=True)
            ]
        )


def yunet_detections(candidates: Candidates, width: int, height: int, reported_from: float) -> Detections:
    """As :func:`monitor.faces.yunet.decoded`, of all strides in one."""
    sure = candidates[candidates[:, 0] >= reported_from**2]
    strides, origins = _placed(sure[:, 1].astype(np.int64), width, height, anchors=1)
    centres = (origins + sure[:, 2:4]) * strides
    halves = np.exp(sure[:, 4:6]) * (strides / 2)
    return Detections(
        boxes=np.concatenate([centres - halves, centres + halves], axis=1),
        landmarks=(sure[:, 6:].reshape(-1, 5, 2) + origins[:, None]) * strides[:, None],
        det_scores=np.sqrt(sure[:, 0]),
    )


def scrfd_detections(candidates: Candidates, width: int, height: int, reported_from: float) -> Detections:
    """As ``insightface.model_zoo.scrfd.SCRFD``: distances from the cell's corner to the box's sides and landmarks, in
    units of the stride."""
    sure = candidates[candidates[:, 0] >= reported_from]
    strides, origins = _placed(sure[:, 1].astype(np.int64), width, height, anchors=_SCRFD_ANCHORS)
    corners = origins * strides
    distances = sure[:, 2:6] * strides
    return Detections(
        boxes=np.concatenate([corners - distances[:, :2], corners + distances[:, 2:]], axis=1),
        landmarks=corners[:, None] + sure[:, 6:].reshape(-1, 5, 2) * strides[:, None],
        det_scores=sure[:, 0],
    )


def _placed(
    cells: NDArray[np.int64], width: int, height: int, *, anchors: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Stride (n, 1), and column and row (n, 2), of cells that are counted through all strides, the finest first."""
    counts = [anchors * (width // stride) * (height // stride) for stride in _STRIDES]
    starts = np.concatenate([[0], np.cumsum(counts)])
    level = np.searchsorted(starts, cells, side="right") - 1
    strides = np.asarray(_STRIDES)[level]
    rows, columns = np.divmod((cells - starts[level]) // anchors, width // strides)
    return strides[:, None].astype(np.float32), np.stack([columns, rows], axis=1).astype(np.float32)
