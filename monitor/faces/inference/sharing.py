"""A worker's analyser where the inference process runs the networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from monitor.faces.analyser import FaceAnalyser
from monitor.faces.config import OPENCV_ZOO, FacesConfig
from monitor.faces.detect import COARSE_SIDE_PX, FINE_SIDE_PX, Detector
from monitor.faces.embedded import Embedded
from monitor.faces.face import PackInfo
from monitor.faces.inference.candidates import CandidateDetector, scrfd_detections, yunet_detections
from monitor.faces.inference.link import InferenceClient
from monitor.faces.levelling import Leveller
from monitor.faces.second_look import SUSPECTED_FROM, WINDOW_PX, SecondLook

if TYPE_CHECKING:
    from monitor.faces.quality_network import QualityNetwork

_SIDES = (FINE_SIDE_PX, COARSE_SIDE_PX)


class SharedRecogniser:
    """A :class:`monitor.faces.embedded.Embedder`."""

    def __init__(self, client: InferenceClient) -> None:
        self._client = client

    def embed_measured(self, crops: Sequence[NDArray[np.uint8]]) -> Embedded:
        """See the protocol."""
        return Embedded.of(self._client.features(crops))


def sharing(
    config: FacesConfig, client: InferenceClient, info: PackInfo, fixed_size: tuple[int, int] | None
) -> FaceAnalyser:
    """Finds and embeds faces as :func:`monitor.faces.loading.load` would.

    :param info: what the inference process has loaded.
    :param fixed_size: width and height of the only input that its detector takes.
    """
    recogniser = SharedRecogniser(client)
    clearness = None
    if config.quality_network is not None:
        clearness = own_quality_network(config.quality_network)
        info = replace(info, quality_digest=clearness.digest)
    if info.name != OPENCV_ZOO:
        largest = FINE_SIDE_PX if fixed_size is None else min(fixed_size)
        sides = (largest, min(largest, COARSE_SIDE_PX))
        found = CandidateDetector(client, scrfd_detections, sides, fixed_size=fixed_size)
        return FaceAnalyser(info, found, recogniser, config, clearness=clearness)
    if not config.second_look:
        found = CandidateDetector(client, yunet_detections, _SIDES)
        return FaceAnalyser(info, found, recogniser, config, clearness=clearness)
    detector: Detector = SecondLook(
        CandidateDetector(client, yunet_detections, _SIDES, reported_from=SUSPECTED_FROM),
        CandidateDetector(client, yunet_detections, (WINDOW_PX,)),
    )
    return FaceAnalyser(info, detector, recogniser, config, Leveller(recogniser), clearness)


def own_quality_network(path: Path) -> QualityNetwork:
    """The quality network in ``path``, loaded here: the inference process runs the pack's alone.

    :raises PackError: as :func:`monitor.faces.quality_network.load`.
    """
    # With it comes ONNX Runtime, which a worker that shares its networks has no other use for.
    from monitor.faces import quality_network
    from monitor.faces.providers import open_session

    return quality_network.load(path, "cpu", open_session)
