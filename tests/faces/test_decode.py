"""The decoder gives the pictures at the wanted instants, and refuses garbage with one clear reason."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from faces.pictures import Picture

from monitor.errors import FrameLossReason, FrameLost
from monitor.faces.decode import Decoder, nearest, widest_gap
from monitor.streams.packet import EncodedFrame

TICKS = 3000


def luma_clip(count: int = 40) -> list[Picture]:
    """The luma of a picture identifies it: 20, 25, 30 ..."""
    return [np.full((72, 128, 3), 20 + 5 * index, np.uint8) for index in range(count)]


def shown_index(picture: Picture) -> int:
    """Green alone: the encoder's rounding gives grey a tinge."""
    return round((float(picture[..., 1].mean()) - 20) / 5)


@pytest.mark.parametrize("b_frames", [0, 3])
def test_a_gop_prefix_gives_the_pictures_at_its_instants(make_clip: Callable[..., EncodedFrame], b_frames: int) -> None:
    wanted = (0, 7, 8, 23, 39)
    frame = make_clip(luma_clip(), instants=[index * TICKS for index in wanted], b_frames=b_frames)
    pictures = list(Decoder().pictures(frame))
    assert all(pictures)
    assert [shown_index(picture.pixels) for picture in pictures if picture] == list(wanted)
    assert [picture.pts for picture in pictures if picture] == [index * TICKS for index in wanted]


def test_an_instant_between_two_pictures_gives_the_nearer(make_clip: Callable[..., EncodedFrame]) -> None:
    frame = make_clip(luma_clip(), instants=[round(4.4 * TICKS), round(9.6 * TICKS)])
    assert [shown_index(picture.pixels) for picture in Decoder().pictures(frame) if picture] == [4, 10]


def test_an_instant_far_from_every_picture_gives_none(make_clip: Callable[..., EncodedFrame]) -> None:
    frame = make_clip(luma_clip(10), instants=[3 * TICKS, 90 * TICKS])
    near, far = Decoder().pictures(frame)
    assert near is not None
    assert far is None


def test_a_single_keyframe_is_meant_whatever_its_time(make_clip: Callable[..., EncodedFrame]) -> None:
    frame = dataclasses.replace(make_clip(luma_clip(1)), instants=(123456,))
    (picture,) = Decoder().pictures(frame)
    assert picture is not None
    assert picture.pixels.shape == (72, 128, 3)
    assert picture.pixels.dtype == np.uint8


@pytest.mark.parametrize("codec", ["libx264", "mjpeg"])
@pytest.mark.parametrize("size", [(72, 128), (90, 150)])
def test_the_luma_is_that_of_the_pixels(
    make_clip: Callable[..., EncodedFrame], codec: str, size: tuple[int, int]
) -> None:
    shown = np.zeros((*size, 3), np.uint8)
    shown[:, : size[1] // 2] = 200
    (picture,) = Decoder().pictures(make_clip([shown], codec=codec))
    assert picture is not None
    assert picture.size == size[::-1]
    assert picture.luma.shape == size
    # A stream's luma may be limited to 16 to 235.
    assert picture.luma[:, : size[1] // 2 - 8].mean() == pytest.approx(192, abs=10)
    assert picture.luma[:, size[1] // 2 + 8 :].mean() == pytest.approx(8, abs=10)


def test_pictures_are_bgr(make_clip: Callable[..., EncodedFrame]) -> None:
    blue = np.zeros((72, 128, 3), np.uint8)
    blue[..., 0] = 255
    for codec in ("libx264", "mjpeg"):
        (picture,) = Decoder().pictures(make_clip([blue], codec=codec))
        assert picture is not None
        blue_mean, green_mean, red_mean = picture.pixels.mean(axis=(0, 1))
        assert blue_mean > 200
        assert max(green_mean, red_mean) < 50


def test_garbage_is_undecodable_and_the_decoder_goes_on(make_clip: Callable[..., EncodedFrame]) -> None:
    good = make_clip(luma_clip(1))
    packet = dataclasses.replace(good.packets[0], data=bytes(range(256)) * 20)
    decoder = Decoder()
    with pytest.raises(FrameLost) as caught:
        list(decoder.pictures(dataclasses.replace(good, packets=(packet,))))
    assert caught.value.reason is FrameLossReason.UNDECODABLE
    assert all(decoder.pictures(good))


@pytest.mark.parametrize("codec", ["no-such-codec", "aac"])
def test_a_codec_that_shows_no_pictures_is_undecodable(make_clip: Callable[..., EncodedFrame], codec: str) -> None:
    good = make_clip(luma_clip(1))
    odd = dataclasses.replace(good, format=dataclasses.replace(good.format, codec=codec))
    with pytest.raises(FrameLost, match=codec):
        list(Decoder().pictures(odd))


def test_pictures_before_the_break_in_a_gop_are_given(make_clip: Callable[..., EncodedFrame]) -> None:
    frame = make_clip(luma_clip(20), instants=[2 * TICKS])
    cut = dataclasses.replace(frame.packets[10], data=b"\xff" * 50)
    broken = dataclasses.replace(frame, packets=(*frame.packets[:10], cut))
    assert [shown_index(picture.pixels) for picture in Decoder().pictures(broken) if picture] == [2]


@dataclass(frozen=True)
class At:
    pts: int | None


def test_nearest_reads_no_further_than_it_must() -> None:
    read: list[int] = []

    def pictures() -> Iterator[At]:
        for pts in range(0, 1000, 10):
            read.append(pts)
            yield At(pts)

    assert [at.pts for at in nearest(pictures(), [14, 15, 31]) if at] == [10, 10, 30]
    assert read == [0, 10, 20, 30, 40]


def test_nearest_of_nothing_is_none() -> None:
    assert list(nearest([], [5, 6])) == [None, None]
    assert list(nearest([At(None)], [5])) == [None]


def test_the_widest_gap_is_taken_in_order_of_time() -> None:
    assert widest_gap([0, 90, 30, 60]) == 30
    assert widest_gap([7]) is None
