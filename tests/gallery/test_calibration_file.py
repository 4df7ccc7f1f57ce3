from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from support.gallery import PACK

from monitor.errors import GalleryError
from monitor.gallery.calibration import IdentityScores
from monitor.gallery.calibration_defaults import default_calibration
from monitor.gallery.calibration_file import calibration_of, write_calibration

MADE = replace(
    default_calibration(PACK),
    source="照片",
    observations=5000,
    identities={"ann": IdentityScores(centre=0.1, spread=0.09, observations=400)},
)


def test_a_calibration_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "new" / "calibration.json"
    write_calibration(path, MADE)
    assert calibration_of(PACK, path) == MADE
    assert [file.name for file in path.parent.iterdir()] == ["calibration.json"]


def test_without_a_file_the_packs_built_in_calibration_holds(tmp_path: Path) -> None:
    assert calibration_of(PACK, tmp_path / "none.json") == default_calibration(PACK)


def test_a_calibration_of_another_pack_is_refused_with_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    write_calibration(path, MADE)
    with pytest.raises(GalleryError, match="different packs") as refused:
        calibration_of(replace(PACK, digest="another" * 8), path)
    assert "write it anew with `monitor calibrate`" in str(refused.value)
    assert str(refused.value).startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("format", "receipt", "is not a calibration"),
        ("format_version", 2, "format_version 2 is not 1"),
        ("persistence", 1.5, "expected 0 to below 1"),
        ("strangers", {"centre": 0.1}, "strangers.spread"),
        ("observations", "many", "observations: Input should be a valid integer"),
        ("matching", {"centre": 2, "spread": 0.1}, "expected a centre in (0, 1)"),
    ],
)
def test_a_spoilt_file_is_refused_and_the_place_named(tmp_path: Path, key: str, value: object, said: str) -> None:
    path = tmp_path / "calibration.json"
    write_calibration(path, MADE)
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    with pytest.raises(GalleryError) as refused:
        calibration_of(PACK, path)
    assert said in str(refused.value)
    assert str(path) in str(refused.value)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff\xfe", b"null"])
def test_what_is_no_calibration_at_all_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "calibration.json"
    path.write_bytes(content)
    with pytest.raises(GalleryError, match=r"calibration\.json"):
        calibration_of(PACK, path)


def test_a_folder_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(GalleryError, match=r"file/calibration.json: cannot be written"):
        write_calibration(tmp_path / "file" / "calibration.json", MADE)
