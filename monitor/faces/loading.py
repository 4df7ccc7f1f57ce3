"""Loads a pack into this process."""

from __future__ import annotations

import numpy as np

from monitor.faces import packs, quality_network
from monitor.faces.analyser import FaceAnalyser
from monitor.faces.choice import OpenNetwork, choose
from monitor.faces.config import OPENCV_ZOO, FacesConfig
from monitor.faces.detect import Detector
from monitor.faces.levelling import Leveller
from monitor.faces.providers import Session, open_session
from monitor.faces.scrfd import ScrfdDetector
from monitor.faces.second_look import SUSPECTED_FROM, WINDOW_PX, SecondLook
from monitor.faces.yunet import YuNet

_WARM_UP_SHAPES = (360, 640, 3), (640, 360, 3)


def load(config: FacesConfig, open_network: OpenNetwork = open_session) -> FaceAnalyser:
    """Load the configured pack and run it once, so that the first real picture takes no longer than the next.

    :param open_network: opens each network; for measuring.
    :raises PackError: if the pack or the provider is missing, altered or unusable.
    """
    files = packs.locate(config)
    choice = choose(config, files.detector, files.recogniser, open_network)
    detector: Detector
    if files.name == OPENCV_ZOO:
        detector = _yunet(choice.detector, config)
    else:
        detector = ScrfdDetector(files.detector, choice.detector)
    for shape in _WARM_UP_SHAPES:
        detector.detect(np.zeros(shape, np.uint8))
    clearness = None
    if config.quality_network is not None:
        clearness = quality_network.load(config.quality_network, choice.provider, open_network)
    info = files.described(
        config,
        dimension=choice.recogniser.dimension,
        provider=choice.provider,
        precision=choice.precision,
        reason=choice.reason,
        quality_digest=None if clearness is None else clearness.digest,
    )
    levels = config.second_look and files.name == OPENCV_ZOO
    leveller = Leveller(choice.recogniser) if levels else None
    return FaceAnalyser(info, detector, choice.recogniser, config, leveller, clearness)


def _yunet(session: Session, config: FacesConfig) -> Detector:
    if not config.second_look:
        return YuNet(session)
    return SecondLook(YuNet(session, reported_from=SUSPECTED_FROM), YuNet(session, sides=(WINDOW_PX,)))
