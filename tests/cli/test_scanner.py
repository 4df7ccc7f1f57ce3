"""What scan makes of pictures, with faces and matches prepared; of images and addresses that cannot be read."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from support.rooms import PACK, TEST, Shown, frame_at

from monitor.cli.scan import Kind, _row
from monitor.cli.scanner import Scanner
from monitor.config import MonitorConfig
from monitor.errors import ImageRefused
from monitor.faces.face import Embedding, PictureFaces
from monitor.faces.images import MOST_BYTES
from monitor.gallery.identity import Match
from monitor.sightings.config import SightingsConfig
from monitor.streams.packet import EncodedFrame


class OneFace:
    """One face in every picture, as ``look`` says of each in turn; also the gallery that matches it."""

    pack = PACK
    workers = 1

    def __init__(self, *shown: Shown) -> None:
        self._analysed, self._matched = iter(shown), iter(shown)
        self._pictures = 0

    async def analyse(self, frame: EncodedFrame) -> tuple[PictureFaces, ...]:
        self._pictures += 1
        face = next(self._analysed).face(self._pictures)
        return (PictureFaces(pts=frame.instants[0], width=640, height=360, faces=(face,)),)

    async def analyse_image(self, data: bytes) -> PictureFaces:
        raise AssertionError("nothing is to be analysed")

    def match_each(self, embeddings: Sequence[Embedding | None]) -> list[Match | None]:
        return [None if embedding is None else next(self._matched).match for embedding in embeddings]


def scanner(*shown: Shown) -> Scanner:
    one = OneFace(*shown)
    return Scanner(one, one, SightingsConfig(), TEST)  # type: ignore[arg-type]


async def frames(count: int) -> AsyncIterator[EncodedFrame]:
    for second in range(count):
        yield frame_at(float(second))


async def test_only_pictures_that_match_by_themselves_are_reported_as_unproven() -> None:
    unlike = Shown(identity="zoe", similarity=0.08, runner_up=0.05)
    close = Shown(identity="eve", similarity=0.6, runner_up=0.59)
    result = await scanner(Shown(identity="ann"), unlike, close, *[unlike] * 7).video(frames(10))
    assert [(found.identity_id, found.frames, found.verdict) for found in result.sightings] == [
        ("ann", 1, "too_few_samples")
    ]


class StillRoom(OneFace):
    """Somebody who sits still; remembers how many faces were compared."""

    def __init__(self, *shown: Shown) -> None:
        super().__init__(*shown)
        self.compared = 0

    async def analyse(self, frame: EncodedFrame) -> tuple[PictureFaces, ...]:
        (picture,) = await super().analyse(frame)
        face = replace(picture.faces[0], grid=bytes(range(200)) * 2)
        return (replace(picture, faces=(face,), luma=b"\x02\x80\x01\x68" + bytes(256)),)

    def match_each(self, embeddings: Sequence[Embedding | None]) -> list[Match | None]:
        self.compared += sum(embedding is not None for embedding in embeddings)
        return super().match_each(embeddings)


@pytest.mark.parametrize(("interval_s", "compared"), [(6.0, 3), (0.0, 10)])
async def test_faces_that_the_daemon_would_spare_are_not_compared_though_they_were_embedded(
    interval_s: float, compared: int
) -> None:
    room = StillRoom(*[Shown(similarity=0.1)] * 10)
    config = SightingsConfig(reembed_interval_s=interval_s)
    result = await Scanner(room, room, config, TEST).video(frames(10))  # type: ignore[arg-type]
    assert (room.compared, result.faces) == (compared, 10)


async def test_an_image_that_is_too_large_is_refused_unread_with_its_size_and_the_limit(tmp_path: Path) -> None:
    large = tmp_path / "large.jpg"
    with large.open("wb") as file:
        file.truncate(300_000_000)
    with pytest.raises(ImageRefused, match=f"has 300000000 bytes, at most {MOST_BYTES} are read"):
        await scanner().image(large)


@pytest.mark.parametrize("url", ["http://[bad/secretkey.m3u8", "http://h:port/secretkey.m3u8"])
async def test_an_address_that_cannot_be_parsed_is_an_error_of_that_input_that_repeats_no_key(url: str) -> None:
    row = await _row(scanner(), url, Kind.ADDRESS, Namespace(seconds=1.0, interval=0.5), MonitorConfig())
    assert set(row) == {"input", "error"}
    assert row["error"] == "the address cannot be read: its host or port is not valid"
