"""The ways to find and embed the faces of a picture that the bench compares; each with one thread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import onnx
from insightface.app.common import Face as InsightFace
from insightface.model_zoo.arcface_onnx import ArcFaceONNX
from numpy.typing import NDArray

from monitor.faces import opencv_zoo
from monitor.faces.analyser import FaceAnalyser
from monitor.faces.config import Provider
from monitor.faces.detect import FINE_SIDE_PX, OVERLAP_LIMIT, REPORTED_FROM, merged
from monitor.faces.providers import Precision, Session, TensorInfo, open_session
from monitor.faces.yunet import OUTPUTS, decoded

Picture = NDArray[np.uint8]
Tensors = Mapping[str, NDArray[np.float32]]


class Way(Protocol):
    """One contestant."""

    def look(self, number: int) -> int:
        """Find and embed the faces of that picture; how many there are."""


class OurWay:
    """The analyser, as a worker process calls it."""

    def __init__(self, analyser: FaceAnalyser, pictures: Sequence[Picture]) -> None:
        self._analyser = analyser
        self._pictures = pictures

    def look(self, number: int) -> int:
        return sum(face.embedding is not None for face in self._analyser.faces(self._pictures[number]))


class Tape:
    """Opens networks, and remembers what they are given while it records."""

    def __init__(self) -> None:
        self.recording = False
        self.calls: list[tuple[Session, Sequence[str] | None, Tensors]] = []

    def open(self, path: Path, provider: Provider, precision: Precision) -> Session:
        """As :func:`monitor.faces.providers.open_session`."""
        return _TapedSession(open_session(path, provider, precision), self)


class _TapedSession:
    """A session whose calls are remembered."""

    def __init__(self, session: Session, tape: Tape) -> None:
        self._session = session
        self._tape = tape

    def get_inputs(self) -> Sequence[TensorInfo]:
        return self._session.get_inputs()

    def get_outputs(self) -> Sequence[TensorInfo]:
        return self._session.get_outputs()

    def run(self, output_names: Sequence[str] | None, input_feed: Tensors) -> list[NDArray[np.float32]]:
        if self._tape.recording:
            kept = {name: value.copy() for name, value in input_feed.items()}
            self._tape.calls.append((self._session, output_names, kept))
        return self._session.run(output_names, input_feed)


class FloorWay:
    """The bare sessions, on the very tensors that ours gives them."""

    def __init__(self, analyser: FaceAnalyser, tape: Tape, pictures: Sequence[Picture]) -> None:
        self._calls = []
        self._faces = []
        tape.recording = True
        for picture in pictures:
            tape.calls = []
            self._faces.append(len(analyser.faces(picture)))
            self._calls.append(tape.calls)
        tape.recording = False
        self.detector, self.recogniser = self._calls[0][0][0], self._calls[0][-1][0]
        """The sessions that ours came to use."""

    def look(self, number: int) -> int:
        for session, names, tensors in self._calls[number]:
            session.run(names, tensors)
        return self._faces[number]


class InsightFaceWay:
    """One image at a time on a square canvas, as ``insightface.app.FaceAnalysis`` does; its own alignment and
    ``ArcFaceONNX`` for every face, and YuNet in place of SCRFD."""

    def __init__(self, detector: Session, recogniser_path: Path, recogniser: Session, pictures: Sequence[Picture]):
        self._detector = detector
        self._input = detector.get_inputs()[0].name
        self._recogniser = ArcFaceONNX(model_file=str(recogniser_path), session=recogniser)
        self._pictures = pictures

    def look(self, number: int) -> int:
        picture = self._pictures[number]
        scale = FINE_SIDE_PX / max(picture.shape[:2])
        scaled = cv2.resize(picture, None, fx=scale, fy=scale)
        canvas = np.zeros((FINE_SIDE_PX, FINE_SIDE_PX, 3), np.uint8)
        canvas[: scaled.shape[0], : scaled.shape[1]] = scaled
        blob = np.asarray(cv2.dnn.blobFromImage(canvas), np.float32)
        found = merged(decoded(self._detector.run(OUTPUTS, {self._input: blob}), FINE_SIDE_PX))
        for landmarks in found.landmarks / scale:
            self.embed(picture, landmarks)
        return len(found)

    def embed(self, picture: Picture, landmarks: NDArray[np.float32]) -> NDArray[np.float32]:
        """The L2-normalised embedding of the face with these landmarks: shape (D,)."""
        feature = self._recogniser.get(picture, InsightFace(kps=landmarks))
        return np.asarray(feature / np.linalg.norm(feature), np.float32)


class OpenCvWay:
    """``cv2.FaceDetectorYN`` and ``cv2.FaceRecognizerSF``.

    OpenCV reads the published detector. It cannot read the published recogniser, whose weights are listed as inputs, so
    it gets that with float32 weights, and otherwise as it was published.
    """

    def __init__(self, folder: Path, pictures: Sequence[Picture]) -> None:
        """:raises PackError: if the published files are missing."""
        recogniser = folder / "sface.onnx"
        source = onnx.load(opencv_zoo.source_path(opencv_zoo.SFACE))
        recogniser.write_bytes(opencv_zoo.unquantised(source).SerializeToString())
        detector = str(opencv_zoo.source_path(opencv_zoo.YUNET))
        self._detector = cv2.FaceDetectorYN.create(detector, "", (1, 1), REPORTED_FROM, OVERLAP_LIMIT)
        self._recogniser = cv2.FaceRecognizerSF.create(str(recogniser), "")
        self._pictures = pictures

    def look(self, number: int) -> int:
        picture = self._pictures[number]
        scale = FINE_SIDE_PX / max(picture.shape[:2])
        scaled = cv2.resize(picture, None, fx=scale, fy=scale)
        self._detector.setInputSize((scaled.shape[1], scaled.shape[0]))
        _, found = self._detector.detect(scaled)
        if found is None:
            return 0
        for face in found:
            # Box and landmarks; the last number is the det_score.
            face[:14] /= scale
            self._recogniser.feature(self._recogniser.alignCrop(picture, face))
        return len(found)
