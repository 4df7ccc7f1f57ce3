"""``monitor evaluate`` on real faces: true outcomes, an honest report, clear errors."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from monitor.cli.main import main
from monitor.demo.portraits import BIDEN, OBAMA_OFFICIAL, OBAMA_SENATE
from monitor.evaluation.album import Photo, read_album
from monitor.evaluation.openset import NOBODY
from monitor.evaluation.verdict import PictureVerdict, read_picture
from monitor.faces.config import FacesConfig
from monitor.faces.face import Box, Face, PackInfo, PictureFaces, Quality
from monitor.gallery.identity import Consent, Identity, Reference
from monitor.gallery.snapshot import GallerySnapshot


@pytest.fixture(scope="session")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("networks")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, networks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MONITOR__FACES__CACHE_DIR", str(networks))
    monkeypatch.setenv("MONITOR__FACES__WORKERS", "2")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two photos of one person, one of another, a broken one, and one that shows nobody."""
    root = tmp_path / "people"
    for identity, name, portrait in (
        ("Barack_Obama", "official.jpg", OBAMA_OFFICIAL),
        ("Barack_Obama", "senate.jpg", OBAMA_SENATE),
        ("Joe_Biden", "white_house.jpg", BIDEN),
    ):
        (root / identity).mkdir(parents=True, exist_ok=True)
        (root / identity / name).write_bytes(portrait.path.read_bytes())
    (root / "Broken").mkdir()
    (root / "Broken" / "half.jpg").write_bytes(BIDEN.path.read_bytes()[:30_000].replace(b"\xff\xdb", b"\0\0"))
    (root / "Wall").mkdir()
    cv2.imwrite(str(root / "Wall" / "grey.png"), np.full((300, 300, 3), 120, np.uint8))
    (root / "notes.txt").write_text("nobody")
    return root


def evaluated(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[dict[str, Any], str]:
    assert main(["evaluate", "--json", *arguments]) == 0
    output = capsys.readouterr()
    return json.loads(output.out), output.err


def test_a_folder_is_evaluated_and_what_could_not_be_tried_is_named(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MONITOR__FACES__SECOND_LOOK", "false")
    out = tmp_path / "report.html"
    result, said = evaluated(capsys, str(folder), "--out", str(out), "--transformations", "scale_240p,rotate_90")
    upright, lying = result["transformations"]
    assert (upright["transformation"], upright["clips"]["hits"], upright["clips"]["trials"]) == ("scale_240p", 2, 2)
    assert upright["median_similarity"] > 0.7
    assert (lying["clips"]["hits"], lying["clips"]["trials"]) == (0, 2), "an upright detector misses who lies"
    assert sum(lying["missed_because"].values()) == 12
    assert [row["false_sightings"]["hits"] for row in result["transformations"]] == [0, 0]
    assert result["photos"]["tpir"] == {"hits": 2, "trials": 2, "low": 0.2236, "high": 1.0}
    assert result["photos"]["fpir"]["trials"] == 4, "Biden and the wall, in two rounds"
    assert result["photos"]["fpir"]["hits"] == 0
    assert [point["tpir"] for point in result["photos"]["at_fpir"]] == [None, None, None], "four cannot show 10 %"
    assert {one["what"] for one in result["skipped"]} == {"Broken/half.jpg", "Wall/grey.png"}
    assert "Broken/half.jpg" in said
    page = out.read_text()
    assert page.count('<img src="data:image/jpeg;base64,') == 2, "of the two clips that were missed"
    assert re.findall(r'(?:src|href)="(?!data:)', page) == []
    assert "<svg" in page


def test_of_the_faces_that_ship_a_face_swap_is_found_and_nobody_else_is_taken_for_anybody(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    result, _ = evaluated(capsys, "--quick", "--transformations", "face_swap")
    (row,) = result["transformations"]
    assert (row["clips"]["hits"], row["clips"]["trials"]) == (2, 2)
    assert (row["false_sightings"]["hits"], row["false_sightings"]["trials"]) == (0, 4), "two of them of a stranger"
    assert result["report"] == "evaluation.html"
    assert (tmp_path / "evaluation.html").stat().st_size > 5000
    assert result["skipped"] == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "nowhere: No such file or directory; give the folder that holds one folder of photos a person"),
        (["."], "no identity with two photos"),
        (["--transformations", "sideways"], "'sideways' unknown; there are as_is"),
        (["--out", "no/such/place.html"], "no/such/place.html: the report cannot be written there"),
    ],
)
def test_what_cannot_be_measured_is_refused_at_once_with_the_remedy(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_an_album_is_sorted_and_has_nothing_but_photos(folder: Path) -> None:
    (folder / "Barack_Obama" / ".hidden.jpg").write_bytes(b"")
    (folder / "Empty").mkdir()
    album = read_album(folder)
    assert list(album) == ["Barack_Obama", "Broken", "Joe_Biden", "Wall"]
    assert [photo.key for photo in album["Barack_Obama"]] == ["Barack_Obama/official.jpg", "Barack_Obama/senate.jpg"]
    assert album["Wall"] == [Photo(identity="Wall", name="grey.png", path=folder / "Wall" / "grey.png")]


PACK = PackInfo(
    name="test",
    digest="d",
    dimension=3,
    licence="",
    provider="cpu",
    similarity_threshold=0.5,
    candidate_threshold=0.3,
    margin=0.1,
)


def unit(*values: float) -> np.ndarray:
    vector = np.array(values, np.float32)
    return vector / np.linalg.norm(vector)


def picture(*embeddings: np.ndarray | None, height: float = 100, det_score: float = 0.9) -> PictureFaces:
    faces = tuple(
        Face(
            box=Box(x1=0, y1=0, x2=80, y2=height),
            landmarks=np.zeros((5, 2), np.float32),
            det_score=det_score,
            quality=Quality(sharpness=100, brightness=100),
            embedding=embedding,
        )
        for embedding in embeddings
    )
    return PictureFaces(pts=0, width=640, height=360, faces=faces)


@pytest.fixture
def gallery() -> GallerySnapshot:
    people = {"ann": unit(1, 0, 0), "bob": unit(0, 1, 0)}
    references = [
        Reference(
            identity_id=name,
            photo="1.jpg",
            photo_sha256=name,
            pack_digest="d",
            embedding=embedding,
            crop_jpeg=b"",
            face_height_px=100,
        )
        for name, embedding in people.items()
    ]
    consent = Consent(basis="test", date=np.datetime64("2026-01-01").astype(object), reference="")
    identities = {name: Identity(id=name, names={"en": name}, consent=consent) for name in people}
    return GallerySnapshot.build(identities, references, refused=(), errors=())


@pytest.mark.parametrize(
    ("shown", "verdict", "searched"),
    [
        (picture(unit(1, 0.2, 0)), PictureVerdict.MATCHED, 0.98),
        (picture(unit(0, 0, 1), unit(1, 0.2, 0)), PictureVerdict.MATCHED, 0.98),
        (picture(unit(0.4, 0, 1)), PictureVerdict.BELOW_SIMILARITY, 0.37),
        (picture(unit(1, 0.95, 0)), PictureVerdict.SMALL_MARGIN, 0.72),
        (picture(unit(0.5, 1, 0)), PictureVerdict.SOMEBODY_ELSE, NOBODY),
        (picture(), PictureVerdict.NO_FACE, NOBODY),
        (picture(None, height=20), PictureVerdict.TOO_SMALL, NOBODY),
        (picture(None, det_score=0.55), PictureVerdict.LOW_DET_SCORE, NOBODY),
    ],
)
def test_a_picture_of_an_enrolled_person_says_why_they_were_not_known(
    gallery: GallerySnapshot, shown: PictureFaces, verdict: PictureVerdict, searched: float
) -> None:
    reading = read_picture(shown, "ann", gallery, PACK, FacesConfig())
    assert (reading.verdict, reading.searched) == (verdict, pytest.approx(searched, abs=0.01))


def test_a_picture_of_a_stranger_counts_the_nearest_of_all(gallery: GallerySnapshot) -> None:
    reading = read_picture(picture(unit(0.3, 0.2, 1), unit(0, 0.6, 1)), "zoe", gallery, PACK, FacesConfig())
    assert reading.searched == pytest.approx(0.51, abs=0.01)
