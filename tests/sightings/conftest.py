"""A loaded pack, and a stream of pictures before a tracker."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.gallery import reference
from support.rooms import frame_at

from monitor.demo.clip import FPS, Picture
from monitor.demo.portraits import PHOTOS
from monitor.faces import loading
from monitor.faces.analyser import FaceAnalyser
from monitor.faces.config import FacesConfig
from monitor.faces.face import PictureFaces
from monitor.gallery.calibration_defaults import default_calibration
from monitor.gallery.identity import Reference
from monitor.gallery.matcher import Matcher
from monitor.sightings.config import SightingsConfig
from monitor.sightings.evidence_limit import sized_test
from monitor.sightings.sequential_test import SequentialTest
from monitor.sightings.sighting import Sighting
from monitor.sightings.tracker import Tracker

Watch = Callable[..., Sighting | None]


@pytest.fixture(scope="session")
def networks_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("networks")


@pytest.fixture(scope="session")
def analyser(networks_dir: Path) -> FaceAnalyser:
    return loading.load(FacesConfig(cache_dir=networks_dir, workers=1))


@pytest.fixture(scope="session")
def enrolled(analyser: FaceAnalyser) -> list[Reference]:
    """Two photos of one person, one of another."""
    people = {"obama_official_portrait": "obama", "obama_senate_portrait": "obama", "biden_white_house": "biden"}
    references = []
    for photo, identity_id in people.items():
        face = analyser.faces(np.asarray(cv2.imread(str(PHOTOS / f"{photo}.jpg")), np.uint8))[0]
        assert face.embedding is not None
        references.append(reference(identity_id, face.embedding, photo))
    return references


@pytest.fixture(scope="session")
def sequential_test(analyser: FaceAnalyser) -> SequentialTest:
    return sized_test(default_calibration(analyser.info), SightingsConfig())


@pytest.fixture(scope="session")
def watch(analyser: FaceAnalyser, enrolled: list[Reference], sequential_test: SequentialTest) -> Watch:
    """The sighting that a tracker last hands out over pictures, looked at once a second."""

    def watched(
        pictures: Sequence[Picture], *more: Reference, look_alikes: Sequence[Reference] = (), first_lasts_s: int = 0
    ) -> Sighting | None:
        matcher = Matcher([*enrolled, *more], look_alikes=look_alikes)
        tracker = Tracker("room", analyser.info, SightingsConfig(), sequential_test)
        last = None
        seen = [(pictures[index].shape, analyser.faces(pictures[index])) for index in range(0, len(pictures), FPS)]
        for second, ((height, width, _), faces) in enumerate([seen[0]] * first_lasts_s + seen):
            shown = PictureFaces(pts=second * 90_000, width=width, height=height, faces=faces)
            matches = [None if f.embedding is None else matcher.match_all(f.embedding[None])[0] for f in faces]
            updates = tracker.observe(frame_at(float(second)), shown, matches)
            last = next((update.sighting for update in updates if update.sighting), last)
        return last

    return watched
