"""A network that says how clear a face is: OpenCV Zoo's eDifFIQA(T), from a file of the operator's.

Babnik, Peer, Struc: eDifFIQA: Towards Efficient Face Image Quality Assessment based on Denoising Diffusion
Probabilistic Models, IEEE TBIOM 2024. What it says is one factor of a face's quality; embeddings stay what they are, so
it is no part of the pack's digest and references stay comparable.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from monitor.errors import PackError
from monitor.faces.align import CROP_PX
from monitor.faces.config import Provider
from monitor.faces.providers import Precision, Session

PUBLISHED_SHA256 = "9426c899cc0f01665240cb7d9e7f98e18e24e456c178326c771a43da289bfc6a"
"""Of OpenCV Zoo's ``ediffiqa_tiny_jun2024.onnx``, 7,272,678 bytes."""

_REMEDY = "name eDifFIQA(T)'s file, ediffiqa_tiny_jun2024.onnx of OpenCV Zoo, or leave the setting out"
_MIDDLE = 127.5
"""What is taken off each value and what the rest is divided by: (x / 255 - 0.5) / 0.5."""


class QualityNetwork:
    """Aligned crops in, one number each out; the higher, the clearer."""

    def __init__(self, session: Session, digest: str) -> None:
        """:raises PackError: if the network does not give one number for one crop."""
        self.digest = digest
        self._session = session
        takes, gives = session.get_inputs(), session.get_outputs()
        shape = list(takes[0].shape)
        one = shape[:1] == [1] or not isinstance(shape[0], int) or shape[0] < 0
        if len(takes) != 1 or not one or shape[1:] != [3, CROP_PX, CROP_PX]:
            more = f" and {len(takes) - 1} more inputs" if len(takes) > 1 else ""
            raise PackError(f"it takes {shape}{more}, expected [batch, 3, {CROP_PX}, {CROP_PX}]")
        if len(gives) != 1:
            raise PackError(f"it has {len(gives)} outputs, expected one")
        self._input, self._output = takes[0].name, gives[0].name
        try:
            said = self._run(np.full((CROP_PX, CROP_PX, 3), 128, np.uint8))
        # ONNX Runtime's own exceptions share no base class below Exception.
        except Exception as error:
            raise PackError(f"it cannot be run: {error}") from error
        if said.size != 1:
            raise PackError(f"it gives {said.size} numbers for one face, expected one")

    def clarity(self, crops: Sequence[NDArray[np.uint8]]) -> list[float | None]:
        """What the network says of each crop; None where that is no finite number.

        One at a time: on a CPU a batch saves nothing, and the published file may be for one.

        :param crops: aligned, each of shape (112, 112, 3), BGR.
        """
        said = [float(self._run(crop).ravel()[0]) for crop in crops]
        return [number if math.isfinite(number) else None for number in said]

    def _run(self, crop: NDArray[np.uint8]) -> NDArray[np.float32]:
        blob = cv2.dnn.blobFromImage(crop, 1 / _MIDDLE, (CROP_PX, CROP_PX), (_MIDDLE, _MIDDLE, _MIDDLE), swapRB=True)
        return np.asarray(self._session.run([self._output], {self._input: np.asarray(blob, np.float32)})[0])


def require_file(path: Path) -> None:
    """Make sure that the file can be read.

    :raises PackError: if it cannot; names the setting and the remedy.
    """
    try:
        path.expanduser().open("rb").close()
    except OSError as error:
        raise PackError(f"faces.quality_network {path} cannot be read: {error.strerror}; {_REMEDY}") from error


def load(
    path: Path, provider: Provider, open_network: Callable[[Path, Provider, Precision], Session]
) -> QualityNetwork:
    """The network in ``path``, run on the CPU: by openvino if the recogniser is, else by ONNX Runtime.

    Always in float32: what it says is compared with what its authors published.

    :param provider: the recogniser's.
    :raises PackError: if the file is not there or is no such network; names the setting and the remedy.
    """
    path = path.expanduser()
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        session = open_network(path, "openvino" if provider == "openvino" else "cpu", Precision.FLOAT32)
        return QualityNetwork(session, digest)
    except OSError as error:
        raise PackError(f"faces.quality_network {path} cannot be read: {error.strerror}; {_REMEDY}") from error
    except PackError as error:
        raise PackError(f"faces.quality_network {path} is not a face quality network: {error}; {_REMEDY}") from error
