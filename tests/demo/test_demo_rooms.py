"""The demo's rooms and gallery are what the demo says they are; clips are made once."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
import yaml

from monitor.demo.clip import Clip
from monitor.demo.clip_cache import cached_clip
from monitor.demo.portraits import OBAMA_OFFICIAL
from monitor.demo.rooms import ROOMS, DemoRoom, RoomVerdict, make_clips, write_gallery
from monitor.errors import MonitorError


def test_the_rooms_are_two_violations_one_permitted_and_one_of_nobody_protected() -> None:
    assert {room.account: room.expected for room in ROOMS} == {
        "obama-fan-shop": RoomVerdict.VIOLATION,
        "obama-official": RoomVerdict.PERMITTED,
        "lamp-and-desk": RoomVerdict.NOTHING,
        "gadget-deals-88": RoomVerdict.VIOLATION,
    }
    assert len({room.name for room in ROOMS}) == 4


def test_a_rooms_stream_carries_what_permissions_and_alerts_need(room: DemoRoom) -> None:
    stream = room.stream("http://127.0.0.1:1/x/index.m3u8")
    assert (stream.platform, stream.account, stream.room) == ("demo", room.account, room.name)
    assert stream.title == room.title
    assert stream.products == (room.shop.product,)


def test_no_rooms_portrait_is_the_gallerys(room: DemoRoom) -> None:
    assert room.portrait.path != OBAMA_OFFICIAL.path


def test_the_gallery_permits_one_account_for_a_year_around_today(tmp_path: Path) -> None:
    write_gallery(tmp_path, date(2026, 7, 1))
    assert (tmp_path / "barack_obama" / "obama_official_portrait.jpg").stat().st_size > 100_000
    described = yaml.safe_load((tmp_path / "barack_obama" / "identity.yaml").read_text(encoding="utf-8"))
    assert described["name"]["en"] == "Barack Obama"
    (permission,) = described["permissions"]
    assert (permission["platform"], permission["account"]) == ("demo", "obama-official")
    assert permission["valid_from"] < date(2026, 7, 1) < permission["valid_until"]
    assert (permission["valid_until"] - permission["valid_from"]).days == 365


def written(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


async def test_made_clips_are_used_again(clips_dir: Path, networks_dir: Path, room_clips: dict[str, Clip]) -> None:
    before = written(clips_dir)
    assert len(before) == 4
    steps: list[tuple[int, int]] = []
    clips = await make_clips(
        ROOMS,
        cache_dir=clips_dir,
        networks_dir=networks_dir,
        progress=lambda done, total, label: steps.append((done, total)),
    )
    assert written(clips_dir) == before
    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert clips == room_clips


def test_a_changed_input_or_setting_makes_the_clip_again_and_drops_the_old_one(tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    cache = tmp_path / "cache"
    cache.mkdir()
    made: list[Path] = []

    def make(path: Path) -> None:
        path.write_bytes(b"clip")
        made.append(path)

    def ask(settings: str) -> Path:
        return cached_clip(cache, "room", inputs=[photo], settings=settings, make=make)

    photo.write_bytes(b"one")
    first = ask("a")
    assert ask("a") == first
    assert len(made) == 1
    photo.write_bytes(b"two")
    second = ask("a")
    third = ask("b")
    assert len({first, second, third}) == len(made) == 3
    assert list(cache.iterdir()) == [third]


async def test_an_unusable_cache_folder_is_named(tmp_path: Path, networks_dir: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(MonitorError, match=r"clip obama-fan-shop: .*cache"):
        await make_clips(ROOMS[:1], cache_dir=tmp_path / "cache", networks_dir=networks_dir)
