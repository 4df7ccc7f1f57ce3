"""The packet ring and the sampler."""

from __future__ import annotations

import io
from itertools import pairwise

import av
import pytest
from support.packets import FORMAT, gop, packet, times
from support.video import clip_bytes

from monitor.clock import SystemClock
from monitor.streams.libav import PacketReader, video_format
from monitor.streams.packet import EncodedFrame
from monitor.streams.ring import PacketRing
from monitor.streams.sampler import Sampler
from monitor.streams.sampling import SamplingPlan, SamplingPolicy

EVERY_2_S = SamplingPlan(policy=SamplingPolicy.INTERVAL, interval_s=2.0, max_interval_s=10.0)


def ring_with(*groups: list, max_bytes: int = 1_000_000, max_s: float = 10) -> PacketRing:  # type: ignore[type-arg]
    ring = PacketRing(max_bytes, max_s, "room")
    ring.begin(FORMAT)
    for group in groups:
        ring.push(group)
    return ring


def test_packets_before_the_first_keyframe_are_left_out() -> None:
    ring = ring_with([packet(0), packet(100)], gop(200))
    assert ring.oldest_time == pytest.approx(0.2)
    assert ring.size == 1000


def test_the_ring_never_holds_more_than_its_bytes_and_starts_at_a_keyframe() -> None:
    ring = ring_with(max_bytes=2_500)
    for index in range(8):
        for item in gop(index * 1000):
            ring.push([item])
            assert ring.size <= 2_500
    assert ring.oldest_time == pytest.approx(6.0)


def test_the_ring_never_spans_more_than_its_seconds() -> None:
    ring = ring_with(*(gop(index * 1000) for index in range(20)), max_s=3)
    assert ring.newest_time is not None
    assert ring.oldest_time is not None
    assert 1.9 <= ring.newest_time - ring.oldest_time <= 3


def test_a_gop_longer_than_the_ring_is_kept_whole_while_it_grows() -> None:
    ring = ring_with(gop(0, 100, step=100), max_s=5)
    assert ring.oldest_time == 0.0
    ring.push(gop(10_000))
    assert ring.oldest_time == pytest.approx(10.0)


@pytest.mark.parametrize(("step", "size", "most_bytes"), [(1000, 100, 1_000_000), (100, 1000, 50_000)])
def test_one_gop_that_outgrows_a_minute_or_the_bytes_is_given_up_until_the_next_keyframe(
    step: int, size: int, most_bytes: int
) -> None:
    ring = ring_with(gop(0, 70, step=step, size=size), max_s=5, max_bytes=most_bytes)
    assert ring.keyframe() is None
    assert ring.newest_time is None
    ring.push(gop(70_000))
    assert ring.oldest_time == pytest.approx(70.0)


def test_a_new_epoch_starts_empty() -> None:
    ring = ring_with(gop(0))
    epoch = ring.epoch
    ring.begin(FORMAT)
    assert ring.epoch == epoch + 1
    assert ring.oldest_time is None
    assert ring.frames_at([0.1]) == []


def test_the_keyframe_is_the_newest_one_alone() -> None:
    frame = ring_with(gop(0), gop(1000)).keyframe()
    assert frame is not None
    assert times(frame.packets) == [1000]
    assert frame.instants == (1000,)
    assert (frame.stream_id, frame.epoch, frame.stream_time) == ("room", 1, 1.0)


def test_wanted_times_give_one_prefix_for_each_gop_and_those_outside_are_skipped() -> None:
    ring = ring_with(gop(1000), gop(2000), gop(3000))
    frames = ring.frames_at([0.5, 1.25, 1.4, 3.0, 99.0])
    assert [frame.instants for frame in frames] == [(1200, 1400), (3000,)]
    assert times(frames[0].packets) == [1000, 1100, 1200, 1300, 1400]
    assert times(frames[1].packets) == [3000]


def test_a_cut_out_of_real_video_with_b_frames_decodes_to_the_wanted_picture() -> None:
    ring = PacketRing(10_000_000, 60)
    with av.open(io.BytesIO(clip_bytes(seconds=3, fps=10, gop=30, bframes=2, container="matroska"))) as container:
        stream = container.streams.video[0]
        ring.begin(video_format(stream))
        reader = PacketReader(SystemClock())
        ring.push([item for raw in container.demux(stream) if (item := reader.convert(raw))])
    for wanted in (0.0, 0.7, 1.3, 2.1):
        (frame,) = ring.frames_at([wanted])
        assert frame.stream_time == pytest.approx(wanted, abs=0.101)
        assert frame.instants[0] in decoded(frame)


def decoded(frame: EncodedFrame) -> list[int]:
    """Presentation times of all pictures that a fresh decoder makes of ``frame``."""
    decoder = av.CodecContext.create(frame.format.codec, "r")
    if frame.format.extradata:
        decoder.extradata = frame.format.extradata
    shown = []
    for item in frame.packets:
        raw = av.Packet(item.data)
        raw.pts, raw.dts = item.pts, item.dts
        shown += [picture.pts for picture in decoder.decode(raw)]
    return shown + [picture.pts for picture in decoder.decode(None)]


@pytest.mark.parametrize("drawn", [0.8, 0.9, 1.0])
def test_a_gop_as_long_as_the_interval_is_sampled_at_every_keyframe(drawn: float) -> None:
    sampler = Sampler(EVERY_2_S, lambda low, high: drawn)
    assert [sampler.take(time) for time in (0.0, 2.0, 4.0, 6.0)] == [True] * 4


def test_denser_keyframes_are_thinned_to_the_interval() -> None:
    sampler = Sampler(EVERY_2_S)
    taken = [index / 10 for index in range(1000) if sampler.take(index / 10)]
    assert all(1.6 <= b - a <= 2.1 for a, b in pairwise(taken))
    assert len({round(b - a, 1) for a, b in pairwise(taken)}) > 1, "no jitter"


def test_the_first_keyframe_after_a_reset_is_due() -> None:
    sampler = Sampler(EVERY_2_S)
    assert sampler.take(100.0)
    assert not sampler.take(100.5)
    sampler.reset()
    assert sampler.take(0.0)
