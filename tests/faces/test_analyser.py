"""A loaded pack finds faces, embeds the good ones, and tells people apart."""

from __future__ import annotations

import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
from faces.pictures import Picture, carphone_pictures, recompressed, room_picture
from insightface.model_zoo.arcface_onnx import ArcFaceONNX
from insightface.utils import face_align

from monitor.errors import PackError
from monitor.faces import analyser as analysers
from monitor.faces import loading
from monitor.faces.analyser import FaceAnalyser
from monitor.faces.config import FacesConfig
from monitor.faces.embed import Recogniser
from monitor.faces.face import Face
from monitor.faces.gate import GateVerdict, judge
from monitor.faces.packs import locate
from monitor.faces.providers import open_session


def _only_face(analyser: FaceAnalyser, picture: Picture) -> Face:
    (face,) = analyser.faces(picture)
    return face


def _only_compared_face(analyser: FaceAnalyser, picture: Picture) -> Face:
    (face,) = (face for face in analyser.faces(picture) if face.embedding is not None)
    return face


def _similarity(one: Face, other: Face) -> float:
    assert one.embedding is not None
    assert other.embedding is not None
    return float(one.embedding @ other.embedding)


def test_two_portraits_of_one_person_match_and_strangers_do_not(
    analyser: FaceAnalyser, portraits: dict[str, Picture]
) -> None:
    faces = {name: _only_face(analyser, picture) for name, picture in portraits.items()}
    same = _similarity(faces["obama_official_portrait"], faces["obama_senate_portrait"])
    assert same >= analyser.info.similarity_threshold + analyser.info.margin
    names = list(faces)
    for one in names:
        for other in names[names.index(one) + 1 :]:
            if not (one.startswith("obama") and other.startswith("obama")):
                assert _similarity(faces[one], faces[other]) < analyser.info.candidate_threshold, (one, other)


def test_an_embedding_has_length_one_and_the_packs_dimension(
    analyser: FaceAnalyser, portraits: dict[str, Picture]
) -> None:
    embedding = _only_face(analyser, portraits["astronaut"]).embedding
    assert embedding is not None
    assert embedding.shape == (analyser.info.dimension,) == (128,)
    assert np.linalg.norm(embedding) == pytest.approx(1, abs=1e-5)


def test_embeddings_equal_insightfaces_own_path(
    analyser: FaceAnalyser, portraits: dict[str, Picture], faces_config: FacesConfig
) -> None:
    path = locate(faces_config).recogniser
    network = ArcFaceONNX(model_file=str(path), session=open_session(path, "cpu"))
    for name, picture in portraits.items():
        face = _only_face(analyser, picture)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scikit-image deprecates what InsightFace calls.
            crop = face_align.norm_crop(picture, face.landmarks)
        theirs = network.get_feat(crop)[0]
        assert face.embedding is not None
        assert face.embedding @ theirs / np.linalg.norm(theirs) >= 0.9999, name


def test_faces_of_one_picture_are_embedded_as_each_alone(faces_config: FacesConfig) -> None:
    path = locate(faces_config).recogniser
    recogniser = Recogniser(path, open_session(path, "cpu"))
    crops = list(np.random.default_rng(5).integers(0, 255, (5, 112, 112, 3)).astype(np.uint8))
    alone = np.concatenate([recogniser.embed([crop]) for crop in crops])
    assert ((recogniser.embed(crops) * alone).sum(axis=1) >= 0.9999).all()


def test_a_box_and_landmarks_lie_where_the_face_is(analyser: FaceAnalyser, portraits: dict[str, Picture]) -> None:
    face = _only_face(analyser, portraits["astronaut"])
    # The astronaut's face, measured by eye in the 512 x 512 picture.
    assert face.box.x1 == pytest.approx(178, abs=12)
    assert face.box.y2 == pytest.approx(174, abs=12)
    eyes, mouth = face.landmarks[:2], face.landmarks[3:]
    assert eyes[0, 0] < eyes[1, 0]
    assert mouth[0, 0] < mouth[1, 0]
    assert eyes[:, 1].max() < face.landmarks[2, 1] < mouth[:, 1].min()


@pytest.mark.parametrize("part", [0.12, 0.3, 0.6, 0.9, 1.1])
@pytest.mark.parametrize("size", [(640, 360), (360, 640)])
def test_small_faces_and_faces_that_fill_the_picture_are_found(
    analyser: FaceAnalyser, portraits: dict[str, Picture], part: float, size: tuple[int, int]
) -> None:
    portrait = portraits["obama_senate_portrait"]
    whole = _only_face(analyser, portrait)
    width, height = size
    scale = part * min(size) / whole.box.height
    centre = (whole.box.x1 + whole.box.x2) / 2 * scale, (whole.box.y1 + whole.box.y2) / 2 * scale
    matrix = np.array([[scale, 0, width / 2 - centre[0]], [0, scale, height / 2 - centre[1]]])
    scene = cv2.warpAffine(portrait, matrix, size, flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE)
    found = analyser.faces(np.asarray(scene, np.uint8))[0]
    assert _similarity(found, whole) > analyser.info.similarity_threshold


def test_a_picture_without_a_face_gives_none(analyser: FaceAnalyser) -> None:
    noise = np.random.default_rng(6).integers(0, 255, (360, 640, 3)).astype(np.uint8)
    assert analyser.faces(noise) == ()
    assert analyser.faces(np.zeros((1, 3000, 3), np.uint8)) == ()


def test_a_small_or_blurred_face_is_reported_without_embedding(
    analyser: FaceAnalyser, portraits: dict[str, Picture], faces_config: FacesConfig
) -> None:
    portrait = portraits["obama_official_portrait"]
    small = _only_face(analyser, room_picture(portrait, 120, 68))
    assert small.embedding is None
    assert judge(small.box, small.det_score, small.quality, faces_config) is GateVerdict.TOO_SMALL
    blurred = _only_face(analyser, np.asarray(cv2.GaussianBlur(room_picture(portrait), (0, 0), 6), np.uint8))
    assert blurred.embedding is None
    assert judge(blurred.box, blurred.det_score, blurred.quality, faces_config) is GateVerdict.BLURRED


def test_a_face_that_the_detector_doubts_is_reported_without_embedding(
    portraits: dict[str, Picture], faces_config: FacesConfig
) -> None:
    strict = loading.load(faces_config.model_copy(update={"min_det_score": 0.999}))
    assert _only_face(strict, portraits["astronaut"]).embedding is None


def test_in_a_crowd_only_the_highest_faces_are_embedded(
    analyser: FaceAnalyser, portraits: dict[str, Picture], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(analysers, "MOST_EMBEDDED", 2)
    sizes = (180, 120, 240, 90)
    scene = np.full((260, 800, 3), 90, np.uint8)
    for index, size in enumerate(sizes):
        scene[:size, index * 200 : (index + 1) * 200] = room_picture(portraits["obama_senate_portrait"], 200, size)
    faces = sorted(analyser.faces(scene), key=lambda face: -face.box.height)
    assert len(faces) == 4
    assert [face.embedding is not None for face in faces] == [True, True, False, False]


@pytest.mark.parametrize(("size", "mirrored"), [((176, 144), False), ((88, 72), False), ((176, 144), True)])
def test_a_moving_face_is_known_again_small_mirrored_and_at_200_kbit(
    analyser: FaceAnalyser, size: tuple[int, int], mirrored: bool
) -> None:
    """Enrolled from the first second; at least three later pictures, spread over the rest, must match."""
    pictures = carphone_pictures()
    references = [_only_face(analyser, picture) for picture in pictures[:30:10]]
    later = recompressed(pictures[30:], size, bits_per_s=200_000, mirrored=mirrored)[::10]
    similarities = [max(_similarity(_only_compared_face(analyser, p), r) for r in references) for p in later]
    assert sum(s >= analyser.info.similarity_threshold for s in similarities) >= 0.75 * len(later), similarities


def test_the_operators_thresholds_replace_the_packs(faces_config: FacesConfig, analyser: FaceAnalyser) -> None:
    own = loading.load(faces_config.model_copy(update={"similarity_threshold": 0.5, "margin": 0.2})).info
    assert (own.similarity_threshold, own.margin) == (0.5, 0.2)
    gap = analyser.info.similarity_threshold - analyser.info.candidate_threshold
    assert own.candidate_threshold == pytest.approx(0.5 - gap)


def test_an_insightface_pack_finds_and_tells_apart(
    insightface_folder: Path, portraits: dict[str, Picture], faces_config: FacesConfig
) -> None:
    config = faces_config.model_copy(update={"pack": "buffalo_s", "pack_dir": insightface_folder})
    loaded = loading.load(config)
    assert loaded.info.name == "buffalo_s"
    assert "non-commercial" in loaded.info.licence
    assert loaded.info.similarity_threshold == 0.45
    faces = {name: _only_face(loaded, picture) for name, picture in portraits.items()}
    assert _similarity(faces["obama_official_portrait"], faces["obama_senate_portrait"]) > 0.45
    assert _similarity(faces["obama_official_portrait"], faces["biden_white_house"]) < 0.38


def test_an_insightface_detector_finds_a_face_that_fills_the_picture(
    insightface_folder: Path, portraits: dict[str, Picture], faces_config: FacesConfig
) -> None:
    config = faces_config.model_copy(update={"pack": "buffalo_s", "pack_dir": insightface_folder})
    loaded = loading.load(config)
    portrait = portraits["obama_senate_portrait"]
    box = _only_face(loaded, portrait).box
    close_up = portrait[round(box.y1) : round(box.y2), round(box.x1) : round(box.x2)]
    assert _only_face(loaded, np.ascontiguousarray(close_up)).det_score > 0.6


def test_a_detection_network_in_place_of_the_recogniser_is_refused(
    insightface_folder: Path, tmp_path: Path, faces_config: FacesConfig
) -> None:
    (tmp_path / "scrfd.onnx").symlink_to(insightface_folder / "scrfd.onnx")
    (tmp_path / "w600k_r50.onnx").symlink_to(insightface_folder / "scrfd.onnx")
    with pytest.raises(PackError, match=r"w600k_r50\.onnx"):
        loading.load(faces_config.model_copy(update={"pack": "buffalo_l", "pack_dir": tmp_path}))
