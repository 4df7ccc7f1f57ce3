"""``monitor scan`` on real faces: portraits against each other, and a moving head through transformations."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
import skimage.data
import yaml
from aiohttp import web
from support.hls import silent, tcp_server

from monitor.demo.carphone import carphone_path
from monitor.demo.live_hls import LiveRooms
from monitor.demo.portraits import BIDEN, OBAMA_OFFICIAL, OBAMA_SENATE

Picture = np.ndarray


async def scan(*arguments: object, env: dict[str, str] | None = None) -> tuple[int, list[dict[str, Any]], str]:
    """Exit code, one object per input, and stderr of the command."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "monitor.cli.main",
        "scan",
        "--json",
        *map(str, arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=env,
    )
    output, errors = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode is not None
    return process.returncode, [json.loads(line) for line in output.splitlines()], errors.decode()


def enrol(gallery: Path, identity: str, photo: Path, permissions: list[dict[str, Any]] | None = None) -> None:
    folder = gallery / identity
    folder.mkdir(parents=True)
    shutil.copy(photo, folder / photo.name)
    described = {
        "name": {"en": identity},
        "consent": {"basis": "test", "date": "2026-01-01", "reference": "none"},
        "permissions": permissions or [],
    }
    (folder / "identity.yaml").write_text(yaml.safe_dump(described))


def found(row: dict[str, Any]) -> set[str]:
    return {sighting["identity"] for sighting in row["sightings"]}


@pytest.fixture(scope="module")
def collins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """NASA's portrait of Eileen Collins."""
    path = tmp_path_factory.mktemp("collins") / "collins.png"
    cv2.imwrite(str(path), cv2.cvtColor(skimage.data.astronaut(), cv2.COLOR_RGB2BGR))
    return path


async def test_portraits_of_one_person_match_and_strangers_do_not(tmp_path: Path, collins: Path) -> None:
    people = {
        "obama": [OBAMA_OFFICIAL.path, OBAMA_SENATE.path],
        "biden": [BIDEN.path],
        "collins": [collins],
    }
    for enrolled in range(2):
        gallery = tmp_path / f"gallery-{enrolled}"
        for identity, photos in people.items():
            enrol(gallery, identity, photos[min(enrolled, len(photos) - 1)])
        inputs = [photo for photos in people.values() for photo in photos]
        code, rows, _ = await scan(*inputs, "--gallery", gallery)
        assert code == 0
        expected = [{identity} for identity, photos in people.items() for _ in photos]
        assert [found(row) for row in rows] == expected
        assert {sighting["verdict"] for row in rows for sighting in row["sightings"]} == {"single_frame"}


def carphone() -> list[Picture]:
    with av.open(str(carphone_path())) as container:
        return [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]


def encode(path: Path, pictures: list[Picture], bit_rate: int) -> Path:
    height, width = pictures[0].shape[:2]
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=Fraction(30000, 1001), options={"maxrate": str(bit_rate)})
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = width, height, "yuv420p", bit_rate
        stream.codec_context.thread_count = 1
        for picture in pictures:
            output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        output.mux(stream.encode(None))
    return path


def scaled(factor: float) -> Callable[[Picture], Picture]:
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return lambda picture: cv2.resize(picture, None, fx=factor, fy=factor, interpolation=how)


def mirrored(picture: Picture) -> Picture:
    return np.ascontiguousarray(picture[:, ::-1])


TRANSFORMATIONS: dict[str, tuple[Callable[[Picture], Picture], int]] = {
    "as it is": (lambda picture: picture, 1_000_000),
    "at half size": (scaled(0.5), 1_000_000),
    "mirrored": (mirrored, 1_000_000),
    "at 200 kbit/s": (scaled(2), 200_000),
    "mirrored at half size and 100 kbit/s": (lambda picture: mirrored(scaled(0.5)(picture)), 100_000),
}


async def test_a_face_enrolled_from_the_first_second_is_found_in_the_rest_however_it_is_encoded(tmp_path: Path) -> None:
    pictures = carphone()
    photo = tmp_path / "first_second.png"
    cv2.imwrite(str(photo), scaled(2)(pictures[0]))
    enrol(tmp_path / "gallery", "driver", photo)
    enrol(tmp_path / "gallery", "obama", OBAMA_OFFICIAL.path)
    inputs = [
        encode(tmp_path / f"{number}.mp4", [change(picture) for picture in pictures[30:]], bit_rate)
        for number, (change, bit_rate) in enumerate(TRANSFORMATIONS.values())
    ]
    code, rows, _ = await scan(*inputs, "--gallery", tmp_path / "gallery")
    assert code == 0
    for name, row in zip(TRANSFORMATIONS, rows, strict=True):
        assert found(row) == {"driver"}, name
        (sighting,) = row["sightings"]
        assert sighting["verdict"] == "passed", name
        assert sighting["last_seen"] - sighting["first_seen"] >= 2.0, name
        assert sighting["frames"] >= 3, name


async def test_an_account_is_judged_by_its_permissions(tmp_path: Path, protected_clip_file: Path) -> None:
    permission = {"platform": "demo", "account": "official", "kinds": ["live"]}
    enrol(tmp_path / "gallery", "obama", OBAMA_OFFICIAL.path, [permission])
    options = ("--gallery", tmp_path / "gallery", "--platform", "demo")
    _, (official,), _ = await scan(protected_clip_file, *options, "--account", "official")
    _, (clone,), _ = await scan(protected_clip_file, *options, "--account", "clone")
    assert [one["sightings"][0]["verdict"] for one in (official, clone)] == ["permitted", "no_permission"]


async def test_unreadable_inputs_are_named_and_the_rest_is_scanned(tmp_path: Path) -> None:
    enrol(tmp_path / "gallery", "obama", OBAMA_OFFICIAL.path)
    folder = tmp_path / "inputs"
    folder.mkdir()
    (folder / "a_empty.mp4").write_bytes(b"")
    (folder / "b_text.jpg").write_text("not a picture")
    (folder / "c_noise.ts").write_bytes(np.random.default_rng(1).bytes(50_000))
    shutil.copy(OBAMA_SENATE.path, folder / "d_portrait.jpg")
    (folder / "notes.txt").write_text("left alone")
    missing, blank = tmp_path / "missing.mp4", tmp_path / "blank"
    blank.mkdir()
    code, rows, errors = await scan(folder, missing, blank, "http://[bad/key.m3u8", "--gallery", tmp_path / "gallery")
    assert code == 2
    assert "Traceback" not in errors
    by_name = {Path(row["input"]).name: row for row in rows}
    names = ["a_empty.mp4", "b_text.jpg", "c_noise.ts", "d_portrait.jpg", "missing.mp4", "blank", "key.m3u8"]
    assert list(by_name) == names
    assert found(by_name.pop("d_portrait.jpg")) == {"obama"}
    assert all(set(row) == {"input", "error"} and row["error"] for row in by_name.values())


def remuxed(clip: Path, target: Path, **options: str) -> Path:
    with av.open(str(clip)) as source, av.open(str(target), "w", options=options) as output:
        stream = output.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                output.mux(packet)
    return target


async def test_a_truncated_video_is_scanned_as_far_as_it_goes(tmp_path: Path, protected_clip_file: Path) -> None:
    enrol(tmp_path / "gallery", "obama", OBAMA_OFFICIAL.path)
    whole = remuxed(protected_clip_file, tmp_path / "whole.ts")
    cut = tmp_path / "cut.ts"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    code, (row,), _ = await scan(cut, "--gallery", tmp_path / "gallery")
    assert code == 0
    assert found(row) == {"obama"}
    assert 4 < row["seconds"] < 8


async def test_an_address_is_read_for_as_long_as_it_is_told_and_only_where_it_may(
    tmp_path: Path, protected_clip: object
) -> None:
    enrol(tmp_path / "gallery", "obama", OBAMA_OFFICIAL.path)
    async with LiveRooms() as rooms:
        url = await rooms.add("room", protected_clip, on_air_for_s=9)  # type: ignore[arg-type]
        options = (url, "--gallery", tmp_path / "gallery", "--seconds", "8")
        refused, (row,), _ = await scan(*options)
        assert refused == 2
        assert "network.allow" in row["error"]
        assert "index.m3u8" not in row["error"], "an address can hold a key"
        allowed = os.environ | {"MONITOR__NETWORK__ALLOW": "[127.0.0.0/8]"}
        code, (row,), _ = await scan(*options, env=allowed)
    assert code == 0
    assert found(row) == {"obama"}
    assert row["input"] == url


async def test_an_address_that_shows_nothing_in_time_is_not_called_clean(tmp_path: Path) -> None:
    enrol(tmp_path / "gallery", "obama", OBAMA_OFFICIAL.path)
    allowed = os.environ | {"MONITOR__NETWORK__ALLOW": "[127.0.0.0/8]"}
    async with tcp_server(silent) as port:
        url = f"http://127.0.0.1:{port}/room.flv"
        code, (row,), _ = await scan(url, "--gallery", tmp_path / "gallery", "--seconds", "2", env=allowed)
    assert code == 2
    assert "not one picture" in row["error"]


async def test_what_was_found_in_a_room_that_goes_off_the_air_before_its_time_is_kept(
    tmp_path: Path, protected_clip_file: Path
) -> None:
    enrol(tmp_path / "gallery", "obama", OBAMA_OFFICIAL.path)
    room = remuxed(protected_clip_file, tmp_path / "room.flv", flvflags="no_duration_filesize").read_bytes()

    async def live(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "video/x-flv"})
        await response.prepare(request)
        await response.write(room)
        return response

    app = web.Application()
    app.router.add_get("/room-key.flv", live)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/room-key.flv"
        allowed = os.environ | {"MONITOR__NETWORK__ALLOW": "[127.0.0.0/8]"}
        code, (row,), errors = await scan(url, "--gallery", tmp_path / "gallery", "--seconds", "60", env=allowed)
    finally:
        await runner.cleanup()
    assert code == 0
    assert set(row) == {"input", "seconds", "frames", "faces", "sightings"}
    assert found(row) == {"obama"}
    assert "ended before --seconds: closed_by_peer" in errors
    assert "room-key" not in errors


async def test_a_gallery_without_anybody_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "gallery").mkdir()
    code, rows, errors = await scan(OBAMA_SENATE.path, "--gallery", tmp_path / "gallery")
    assert (code, rows) == (2, [])
    assert "there is nobody to look for" in errors
