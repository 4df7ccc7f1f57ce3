"""calibrate over the real networks, on the faces that scikit-image carries (25 px crops of LFW)."""

from __future__ import annotations

import json
import re
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
import skimage.data


@pytest.fixture
def album(operator):
    """40 people with one photo each."""
    faces = np.load(f"{skimage.data.__path__[0]}/lfw_subset.npy")[:40]
    folder = operator / "album"
    for number, face in enumerate(faces):
        grey = cv2.resize((face * 255).astype(np.uint8), (200, 200), interpolation=cv2.INTER_CUBIC)
        person = folder / f"person_{number:02}"
        person.mkdir(parents=True)
        cv2.imwrite(str(person / "1.png"), cv2.copyMakeBorder(grey, 90, 90, 90, 90, cv2.BORDER_CONSTANT, value=128))
    (folder / "person_00" / "2.jpg").write_text("no picture")
    return folder


def test_a_folder_of_people_is_fitted_written_and_used_from_then_on(monitor, operator, album):
    code, out, err = monitor("calibrate", str(album), "--json")
    assert code == 0, err
    fitted = json.loads(out)
    assert fitted["written"] == "data/calibration.json"
    assert 1000 < fitted["observations"] <= 40 * 39 + 40
    assert fitted["identities"] == 1, "the gallery's own person, whom these are strangers to"
    assert 0 < fitted["strangers"]["centre"] < 0.2
    assert "monitor: skipped person_00/2.jpg: " in err
    code, out, _ = monitor("calibrate", "--show", "curves.svg", "--json")
    assert code == 0
    assert json.loads(out) == {**fitted, "written": None}
    assert ElementTree.fromstring((operator / "curves.svg").read_text()).tag.endswith("svg")


def test_the_built_in_calibration_is_shown_and_says_what_to_expect(monitor, operator):
    code, out, _ = monitor("calibrate", "--show")
    assert code == 0
    assert "nothing was measured here" in out
    assert "at 300 rooms and 1,000 people about 0.4 false alerts a week" in out
    assert (operator / "calibration.svg").read_text().count("<polyline") == 2
    assert not (operator / "data" / "calibration.json").exists()


def test_a_larger_budget_asks_for_more_similar_faces(monitor, operator):
    rows = json.loads(monitor("calibrate", "--show", "--json")[1])["rows"]
    assert [(row["rooms"], row["identities"]) for row in rows] == [(20, 20), (300, 1000), (300, 1000)]
    needed = [row["similarity_needed"] for row in rows]
    assert needed == sorted(needed)
    assert needed[-1] - needed[0] > 0.05


def test_too_few_people_are_refused_and_nothing_is_written(monitor, operator, album):
    for person in sorted(album.iterdir())[10:]:
        for photo in person.iterdir():
            photo.unlink()
    code, _, err = monitor("calibrate", str(album))
    assert code == 2
    found = re.search(r"(\d+) similarities between different people, 1000 are needed: (\d+) are missing", err)
    assert found is not None, err
    assert 0 < int(found[1]) == 1000 - int(found[2])
    assert "add more people" in err
    assert not (operator / "data" / "calibration.json").exists()


@pytest.mark.parametrize("made", [False, True])
def test_a_folder_that_is_not_there_or_holds_no_photo_is_one_clear_line(monitor, operator, made):
    if made:
        (operator / "none" / "somebody").mkdir(parents=True)
    code, out, err = monitor("calibrate", "none")
    assert (code, out) == (2, "")
    assert err.strip().splitlines()[-1].startswith("monitor: none: ")


def test_without_traffic_it_says_how_much_is_missing(monitor, operator):
    code, _, err = monitor("calibrate")
    assert code == 2
    assert "data/stranger_traffic.json: 0 similarities" in err
    assert "1000 are missing; let the daemon watch longer" in err


def test_a_calibration_of_another_pack_is_refused(monitor, operator):
    code, out, _ = monitor("calibrate", "--show", "--json")
    assert code == 0
    counts = {str(100 + bin_): 20 for bin_ in range(32)}
    (operator / "data").mkdir(exist_ok=True)
    traffic = {
        "format": "likeness-stranger-traffic",
        "format_version": 1,
        "pack_digest": json.loads(out)["pack_digest"],
        "cut": 0.34,
        "identities": {"barack_obama": counts, "somebody": counts},
    }
    (operator / "data" / "stranger_traffic.json").write_text(json.dumps(traffic))
    assert monitor("calibrate")[0] == 0
    written = operator / "data" / "calibration.json"
    written.write_text(written.read_text().replace(traffic["pack_digest"], "0" * 64))
    code, _, err = monitor("calibrate", "--show")
    assert code == 2
    assert "similarities of different packs mean different things" in err
