"""The second look: where the detector is in doubt it is asked again, enlarged and turned."""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from faces.pictures import Picture

from monitor.evaluation.geometry import far_away, rotated
from monitor.evaluation.shot import Shot
from monitor.evaluation.studio import Sitter, recorded
from monitor.faces import loading
from monitor.faces.analyser import FaceAnalyser
from monitor.faces.config import FacesConfig
from monitor.faces.detect import Detections
from monitor.faces.embedded import Embedded
from monitor.faces.levelling import Leveller
from monitor.faces.second_look import MOST_LOOKED_AT, WINDOW_PX, SecondLook

# One for each landmark, on black.
SPOTS = ((0, 0, 255), (0, 255, 0), (255, 0, 0), (0, 255, 255), (255, 0, 255))
UPRIGHT = np.array([[-30.0, -30], [30, -30], [0, 0], [-22, 35], [22, 35]])


def painted(degrees: float, at: tuple[int, int] = (400, 200), size: float = 1.0) -> tuple[Picture, np.ndarray]:
    """A picture of five spots where a face's landmarks are, turned clockwise, and where they are."""
    turn = math.radians(degrees)
    matrix = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    landmarks = size * UPRIGHT @ matrix.T + np.array(at)
    picture = np.zeros((480, 800, 3), np.uint8)
    for point, colour in zip(landmarks, SPOTS, strict=True):
        cv2.circle(picture, (round(point[0]), round(point[1])), max(2, round(9 * size)), colour, -1)
    return picture, landmarks


def detections(*found: tuple[tuple[float, float, float, float], float]) -> Detections:
    boxes = np.array([box for box, _ in found], np.float32).reshape(-1, 4)
    return Detections(
        boxes=boxes,
        landmarks=np.repeat(boxes[:, None, :2], 5, axis=1).reshape(-1, 5, 2),
        det_scores=np.array([det_score for _, det_score in found], np.float32),
    )


class Fixed:
    """A detector that always says the same, and counts how often it was asked."""

    def __init__(self, found: Detections) -> None:
        self.found = found
        self.asked = 0

    def detect(self, picture: Picture) -> Detections:
        self.asked += 1
        return self.found


class SpotFinder:
    """A detector that knows the painted face by its spots, the surer the more upright it is."""

    def detect(self, picture: Picture) -> Detections:
        assert picture.shape == (WINDOW_PX, WINDOW_PX, 3)
        spots = []
        for colour in SPOTS:
            near = np.argwhere(np.abs(picture.astype(int) - colour).max(axis=2) < 90)
            if not len(near):
                return detections()
            spots.append(near.mean(axis=0)[::-1])
        landmarks = np.array(spots, np.float32)
        across = landmarks[1] - landmarks[0]
        roll = abs(math.degrees(math.atan2(across[1], across[0])))
        low, high = landmarks.min(axis=0) - 5, landmarks.max(axis=0) + 5
        return Detections(
            boxes=np.concatenate([low, high])[None],
            landmarks=landmarks[None],
            det_scores=np.array([0.95 - roll / 400], np.float32),
        )


@pytest.mark.parametrize("degrees", range(0, 360, 30))
def test_the_landmarks_of_a_turned_face_are_where_they_are_and_in_its_own_order(degrees: int) -> None:
    picture, landmarks = painted(degrees)
    found = SecondLook(Fixed(detections(((350, 150, 450, 250), 0.4))), SpotFinder()).detect(picture)
    assert len(found) == 1
    assert found.det_scores[0] > 0.9
    assert np.abs(found.landmarks[0] - landmarks).max() < 2.5
    corners = found.boxes[0].reshape(2, 2)
    assert np.abs(corners.mean(axis=0) - (landmarks[0] + landmarks[1] + landmarks[3] + landmarks[4]) / 4).max() < 4
    assert ((corners[1] - corners[0] > 64) & (corners[1] - corners[0] < 88)).all(), "70 by 75, at every angle"


def test_a_small_face_is_looked_at_enlarged() -> None:
    picture, landmarks = painted(0, size=0.2)
    found = SecondLook(Fixed(detections(((390, 190, 410, 210), 0.5))), SpotFinder()).detect(picture)
    assert np.abs(found.landmarks[0] - landmarks).max() < 1.5


def test_a_face_in_plain_view_costs_no_second_search() -> None:
    close = Fixed(detections())
    sure = detections(((100, 100, 200, 200), 0.94))
    assert SecondLook(Fixed(sure), close).detect(np.zeros((480, 800, 3), np.uint8)).det_scores.tolist() == [
        pytest.approx(0.94)
    ]
    assert close.asked == 0


def test_what_was_only_suspected_is_dropped_when_the_second_look_finds_nothing() -> None:
    close = Fixed(detections())
    wide = Fixed(detections(((100, 100, 200, 200), 0.6), ((400, 100, 500, 200), 0.45)))
    found = SecondLook(wide, close).detect(np.zeros((480, 800, 3), np.uint8))
    assert found.det_scores.tolist() == [pytest.approx(0.6)], "what was a face before stays one"
    assert close.asked == 12 + 4, "what is no face after quarter turns is given up"


def test_a_face_that_was_suspected_twice_is_given_out_once() -> None:
    picture, _ = painted(90)
    wide = Fixed(detections(((330, 140, 430, 240), 0.5), ((370, 180, 470, 280), 0.4)))
    assert len(SecondLook(wide, SpotFinder()).detect(picture)) == 1


def test_a_crowd_cannot_hold_a_worker_for_long() -> None:
    close = Fixed(detections())
    crowd = detections(*[((40.0 * i, 100, 40.0 * i + 30, 140 + i), 0.7) for i in range(18)])
    found = SecondLook(Fixed(crowd), close).detect(np.zeros((480, 800, 3), np.uint8))
    assert len(found) == 18
    assert close.asked <= 12 * MOST_LOOKED_AT


def test_nothing_is_found_where_there_is_nothing() -> None:
    close = Fixed(detections())
    assert len(SecondLook(Fixed(detections()), close).detect(np.zeros((480, 800, 3), np.uint8))) == 0
    assert close.asked == 0


@pytest.fixture(scope="module")
def single_look(faces_config: FacesConfig) -> FaceAnalyser:
    return loading.load(faces_config.model_copy(update={"second_look": False}))


HIDDEN: dict[str, Callable[[Shot], Shot]] = {
    "tilted": lambda shot: rotated(shot, 45),
    "lying": lambda shot: rotated(shot, 90),
    "upside down": lambda shot: rotated(shot, 180),
    "small": lambda shot: far_away(shot, 0.15),
}


@pytest.mark.parametrize("how", HIDDEN)
def test_a_person_who_tilts_or_shrinks_the_picture_is_known_all_the_same(
    analyser: FaceAnalyser, single_look: FaceAnalyser, portraits: dict[str, Picture], how: str
) -> None:
    reference = analyser.faces(portraits["obama_senate_portrait"])[0].embedding
    photo = portraits["obama_official_portrait"]
    face = analyser.faces(photo)[0]
    sitter = Sitter(picture=photo, box=face.box, landmarks=face.landmarks.astype(np.float64))
    picture = HIDDEN[how](recorded(sitter, 0.1)[0]).picture

    def similarity(by: FaceAnalyser) -> float:
        return max(
            (float(one.embedding @ reference) for one in by.faces(picture) if one.embedding is not None), default=-1
        )

    assert similarity(analyser) > analyser.info.similarity_threshold + 0.1
    assert similarity(single_look) < analyser.info.similarity_threshold


@pytest.mark.parametrize("degrees", [20, -20])
def test_a_head_that_leans_a_little_is_known_as_well_as_an_upright_one(
    analyser: FaceAnalyser, single_look: FaceAnalyser, portraits: dict[str, Picture], degrees: int
) -> None:
    reference = analyser.faces(portraits["obama_official_portrait"])[0].embedding
    photo = portraits["obama_senate_portrait"]
    face = analyser.faces(photo)[0]
    sitter = Sitter(picture=photo, box=face.box, landmarks=face.landmarks.astype(np.float64))
    picture = rotated(recorded(sitter, 0.1)[0], degrees).picture
    similarity, before = (float(by.faces(picture)[0].embedding @ reference) for by in (analyser, single_look))
    assert similarity > 0.7
    assert similarity >= before


class Recogniser:
    """Finds every crop as clear as it is told, in turn, and embeds it as the how manieth it was."""

    def __init__(self, *lengths: float) -> None:
        self._lengths = list(lengths)

    def embed_measured(self, crops: list[Picture]) -> Embedded:
        lengths = [self._lengths.pop(0) for _ in crops]
        return Embedded(
            embeddings=np.array([[length, 0.0] for length in lengths], np.float32),
            lengths=np.array(lengths, np.float32),
        )


@pytest.mark.parametrize(
    ("lengths", "turned", "expected"),
    [
        ((12.0, 11.0), (), (12, 11)),
        ((12.0, 9.0), (11.0, 5.0), (12, 11)),
        ((9.0, 8.0), (5.0, 11.0), (11, 8)),
        ((9.0, 12.0), (9.5, 9.6), (9, 12)),
    ],
    ids=["all clear", "one turn is clearer", "only the first is turned", "a gain by chance"],
)
def test_an_embedding_is_replaced_only_by_that_of_a_much_clearer_crop(
    lengths: tuple[float, ...], turned: tuple[float, ...], expected: tuple[int, ...]
) -> None:
    embedded = Recogniser(*lengths).embed_measured([np.zeros((112, 112, 3), np.uint8)] * 2)
    landmarks = np.repeat((UPRIGHT + 100)[None], 2, axis=0).astype(np.float32)
    recogniser = Recogniser(*turned)
    levelled = Leveller(recogniser).level(np.zeros((200, 200, 3), np.uint8), landmarks, embedded)
    assert levelled.lengths.tolist() == pytest.approx(expected)
    assert levelled.embeddings[:, 0].tolist() == pytest.approx(expected)
    assert recogniser._lengths == [], "a face in doubt costs two more embeddings, others none"
