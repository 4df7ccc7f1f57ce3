"""gallery list, sync and check over the real networks and a real database."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from monitor.cli import gallery

PHOTOS = Path(__file__).parents[2] / "monitor" / "demo" / "photos"


@pytest.fixture
def with_refusals(operator):
    folder = operator / "celebrity_gallery" / "barack_obama"
    (folder / "notes.jpg").write_text("no picture")
    (operator / "celebrity_gallery" / "nobody").mkdir()
    return operator


def test_sync_enrols_into_the_database_and_list_shows_the_same(monitor, with_refusals):
    code, out, _ = monitor("gallery", "sync", "--json")
    synced = json.loads(out)
    assert code == 0
    assert (with_refusals / "data" / "monitor.db").exists()
    (identity,) = synced["identities"]
    assert identity["id"] == "barack_obama"
    assert identity["names"]["zh"] == "贝拉克·奥巴马"
    assert [photo["photo"] for photo in identity["accepted"]] == ["obama_official_portrait.jpg"]
    assert [(photo["photo"], photo["reason"]) for photo in identity["refused"]] == [("notes.jpg", "unreadable")]
    assert identity["permissions"][0]["account"] == "obama-official"
    assert any("nobody" in error for error in synced["errors"])
    assert len(synced["digest"]) == 64
    code, out, _ = monitor("gallery", "list", "--json")
    assert (code, json.loads(out)) == (0, synced)


def test_check_writes_no_database_and_exits_with_2_if_a_photo_is_refused(monitor, with_refusals):
    code, out, _ = monitor("gallery", "check")
    assert code == 2
    assert not (with_refusals / "data" / "monitor.db").exists()
    assert "refused: barack_obama/notes.jpg: unreadable: " in out
    assert "error: " in out
    assert "demo/obama-official: live, rooms at once: 1" in out


def test_check_exits_with_0_when_every_photo_is_accepted_and_list_makes_no_database(monitor, operator):
    assert monitor("gallery", "check")[0] == 0
    code, out, _ = monitor("gallery", "list")
    assert code == 0
    assert "obama_official_portrait.jpg" in out
    assert not (operator / "data" / "monitor.db").exists()


def test_look_alikes_are_listed_beside_the_person_and_a_photo_of_the_person_among_them_is_refused(monitor, operator):
    inner = operator / "celebrity_gallery" / "barack_obama" / "not"
    inner.mkdir()
    for photo in ("biden_white_house.jpg", "obama_senate_portrait.jpg"):
        shutil.copy(PHOTOS / photo, inner)
    code, out, _ = monitor("gallery", "check", "--json")
    (identity,) = json.loads(out)["identities"]
    assert code == 2
    assert [photo["photo"] for photo in identity["accepted"]] == ["obama_official_portrait.jpg"]
    assert [photo["photo"] for photo in identity["look_alikes"]] == ["not/biden_white_house.jpg"]
    assert [(one["photo"], one["reason"]) for one in identity["refused"]] == [
        ("not/obama_senate_portrait.jpg", "too_alike")
    ]
    (inner / "obama_senate_portrait.jpg").unlink()
    code, out, _ = monitor("gallery", "list")
    assert code == 0
    assert "not/biden_white_house.jpg" in out


def test_check_names_photos_of_different_people_that_look_like_one_person(monitor, operator):
    first = operator / "celebrity_gallery" / "barack_obama"
    second = operator / "celebrity_gallery" / "joe_biden"
    second.mkdir()
    shutil.copy(first / "identity.yaml", second)
    shutil.copy(PHOTOS / "biden_white_house.jpg", second)
    code, out, _ = monitor("gallery", "check", "--json")
    assert (code, json.loads(out)["alike"]) == (0, [])
    shutil.copy(PHOTOS / "obama_senate_portrait.jpg", second)
    code, out, _ = monitor("gallery", "check", "--json")
    (pair,) = json.loads(out)["alike"]
    assert code == 0
    assert sorted(pair["photos"]) == ["barack_obama/obama_official_portrait.jpg", "joe_biden/obama_senate_portrait.jpg"]
    assert pair["similarity"] > 0.7
    code, out, _ = monitor("gallery", "check")
    assert (
        "alike: barack_obama/obama_official_portrait.jpg and joe_biden/obama_senate_portrait.jpg: similarity 0." in out
    )
    assert "wrong folder" in out


def test_a_gallery_that_is_not_there_is_one_clear_line(monitor, operator):
    shutil.rmtree(operator / "celebrity_gallery")
    code, out, err = monitor("gallery", "list")
    assert (code, out) == (2, "")
    assert err.startswith("monitor: gallery folder celebrity_gallery: ")


def test_wrong_settings_are_one_clear_line(monitor, operator):
    (operator / "config/monitor.yaml").write_text("faces: {workers: -1}\n")
    code, _, err = monitor("gallery", "check")
    assert code == 2
    assert err.startswith("monitor: config/monitor.yaml:1: faces.workers: -1 is not allowed")


def test_the_bar_on_a_terminal_counts_photos_and_takes_no_markup_from_names(monkeypatch):
    class Terminal:
        text = ""
        encoding = "utf-8"

        def isatty(self) -> bool:
            return True

        def write(self, text: str) -> None:
            Terminal.text += text

        def flush(self) -> None:
            pass

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stderr", Terminal())
    with gallery.progress_bar(quiet=False) as progress:
        progress(1, 2, "somebody/[red]photo.jpg")
    assert "1/2" in Terminal.text
    assert "[red]photo.jpg" in Terminal.text
