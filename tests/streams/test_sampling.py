"""How often a room is looked at, and what a packet is good for."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from fractions import Fraction
from itertools import pairwise

import av
import pytest
from prometheus_client import CollectorRegistry
from support.packets import FORMAT, gop, packet
from support.video import clip_bytes
from support.watching import make_stream

from monitor.clock import ManualClock, SystemClock
from monitor.faces.decode import Decoder
from monitor.streams.config import StreamsConfig
from monitor.streams.entry_point import EntryPoint, entry_point
from monitor.streams.feed import StreamFeed
from monitor.streams.libav import PacketReader, video_format
from monitor.streams.metrics import StreamMetrics
from monitor.streams.packet import EncodedFrame, Packet, VideoFormat
from monitor.streams.sampler import Sampler
from monitor.streams.sampling import Attention, SamplingPlan, SamplingPolicy
from monitor.streams.stream import StreamState

CALLS = tuple(Attention)


def plan(policy: SamplingPolicy, *, keyframes_only: bool = False) -> SamplingPlan:
    return SamplingPlan(policy=policy, interval_s=2.0, max_interval_s=10.0, keyframes_only=keyframes_only)


def after(given: SamplingPlan, *calls: Attention) -> float:
    interval_s = given.start_s
    for call in calls:
        interval_s = given.after(interval_s, call)
    return interval_s


@pytest.mark.parametrize("call", CALLS)
def test_a_fixed_interval_stays_whatever_is_seen(call: Attention) -> None:
    assert after(plan(SamplingPolicy.INTERVAL), call) == 2.0
    assert after(plan(SamplingPolicy.EVERY_KEYFRAME), call) == 0.0


def test_a_quiet_room_slows_down_gradually_and_no_further_than_the_longest_interval() -> None:
    adaptive = plan(SamplingPolicy.ADAPTIVE)
    intervals = [after(adaptive, *[Attention.QUIET] * count) for count in range(12)]
    assert all(a < b for a, b in pairwise(intervals[:8]))
    assert intervals[1] == 2.5
    assert intervals[-1] == 10.0


@pytest.mark.parametrize("call", [Attention.CANDIDATE, Attention.UNDECIDED, Attention.VIOLATION])
def test_whoever_resembles_somebody_brings_the_interval_back(call: Attention) -> None:
    assert after(plan(SamplingPolicy.ADAPTIVE), *[Attention.QUIET] * 20, call) == 2.0


def test_a_settled_permitted_room_is_checked_slowly() -> None:
    assert after(plan(SamplingPolicy.ADAPTIVE), *[Attention.PERMITTED] * 3) == 10.0


def test_without_a_ring_what_is_undecided_takes_every_keyframe_until_it_is_decided() -> None:
    keyframes = plan(SamplingPolicy.INTERVAL, keyframes_only=True)
    assert after(keyframes, Attention.UNDECIDED) == 0.0
    assert after(keyframes, Attention.UNDECIDED, Attention.VIOLATION) == 2.0


def test_a_candidate_in_a_slow_room_makes_the_next_keyframe_due_at_the_short_interval() -> None:
    sampler = Sampler(plan(SamplingPolicy.ADAPTIVE), lambda low, high: high)
    for _ in range(20):
        sampler.settle(Attention.QUIET)
    assert sampler.take(100.0)
    assert sampler.due_at == 110.0
    sampler.settle(Attention.CANDIDATE)
    assert not sampler.take(101.9)
    assert sampler.take(102.0)


def a_feed(**settings: object) -> tuple[StreamFeed, CollectorRegistry]:
    registry = CollectorRegistry()
    config = StreamsConfig(**settings)  # type: ignore[arg-type]
    clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
    feed = StreamFeed(make_stream("rtmp://example.com/live/x"), config, clock, StreamMetrics(registry))
    feed.begin(FORMAT)
    return feed, registry


def test_a_stream_may_have_a_policy_of_its_own() -> None:
    registry = CollectorRegistry()
    stream = make_stream("rtmp://example.com/live/x")
    every = StreamFeed(
        type(stream)(
            **{name: getattr(stream, name) for name in stream.__dataclass_fields__}
            | {"sampling": SamplingPolicy.EVERY_KEYFRAME}
        ),
        StreamsConfig(),
        SystemClock(),
        StreamMetrics(registry),
    )
    every.begin(FORMAT)
    for index in range(10):
        every.push(gop(index * 500, 5), 0)
    assert every.status.frames_sampled == 10


def test_bytes_and_seconds_held_over_all_rings_are_exported_with_their_bounds() -> None:
    feed, registry = a_feed(ring_bytes=100_000, ring_s=5)
    for index in range(300):
        feed.push(gop(index * 1000, size=2_000), 0)
        held = registry.get_sample_value("monitor_ring_bytes")
        assert held == feed.ring.size <= 100_000
        assert (registry.get_sample_value("monitor_ring_seconds") or 0) <= 5
    assert held is not None
    assert held > 50_000
    assert registry.get_sample_value("monitor_ring_bound_bytes") == 100_000
    assert registry.get_sample_value("monitor_ring_bound_seconds") == 5
    feed.removed()
    for name in ("bytes", "seconds", "bound_bytes", "bound_seconds"):
        assert registry.get_sample_value(f"monitor_ring_{name}") == pytest.approx(0, abs=1e-6)


async def test_without_a_ring_only_the_newest_keyframe_is_held_and_a_burst_takes_every_one() -> None:
    feed, _ = a_feed(ring_s=0)
    feed.push([*gop(0), *gop(1000)], 0)
    assert feed.ring.size == 100
    assert feed.status.frames_sampled == 1
    assert not await feed.fill_ring(feed.ring.epoch, 1.0)
    feed.settle(Attention.UNDECIDED)
    feed.push(gop(1200), 0)
    assert feed.status.frames_sampled == 2


def demuxed(data: bytes) -> tuple[VideoFormat, list[Packet]]:
    reader = PacketReader(SystemClock())
    with av.open(io.BytesIO(data)) as container:
        stream = container.streams.video[0]
        packets = [item for raw in container.demux(stream) if (item := reader.convert(raw))]
        return video_format(stream), packets


def pictures(frame: EncodedFrame) -> list[int]:
    return [picture.pts for picture in Decoder().pictures(frame) if picture is not None]


@pytest.mark.parametrize("container", ["mpegts", "flv"])
def test_a_flagged_packet_of_an_intra_refresh_stream_is_a_recovery_point_and_of_another_a_keyframe(
    container: str,
) -> None:
    for refresh, kinds in ((True, {EntryPoint.RECOVERY}), (False, {EntryPoint.PICTURE})):
        video, packets = demuxed(clip_bytes(seconds=9, gop=30, container=container, refresh=refresh))
        found = [entry_point(video, item.data) for item in packets if item.is_keyframe]
        assert len(found) == 3
        assert set(found[1:]) == kinds
        assert found[0] is EntryPoint.PICTURE


@pytest.mark.parametrize("data", [b"", b"\x00", b"\x00\x00\x01", b"\xff" * 40, b"\x00\x00\x01\x01", bytes(64)])
@pytest.mark.parametrize("extradata", [None, b"\x01" * 30])
def test_what_cannot_be_read_is_believed_to_be_a_keyframe(data: bytes, extradata: bytes | None) -> None:
    for codec in ("h264", "hevc", "mjpeg"):
        video = VideoFormat(codec=codec, extradata=extradata, width=64, height=64, time_base=Fraction(1, 1000))
        assert entry_point(video, data) in EntryPoint


@pytest.mark.parametrize("container", ["mpegts", "flv"])
async def test_a_stream_without_keyframes_is_decoded_through_every_ten_seconds(container: str) -> None:
    video, packets = demuxed(clip_bytes(seconds=45, gop=30, container=container, refresh=True))
    feed, registry = a_feed()
    feed.begin(video)
    found = []
    for item in packets[35:]:  # Joined in the middle of a wave, long after the one keyframe.
        feed.push([item], 0)
        if feed.status.frames_sampled > len(found):
            found.append(await feed.next_frame())
    assert len(found) == 4
    assert registry.get_sample_value("monitor_frames_decoded_through_total") == 4
    assert feed.state is StreamState.LIVE
    assert all(pictures(frame) == list(frame.instants) for frame in found)
    assert all(len(frame.packets) <= 60 for frame in found)


async def test_in_a_long_gop_the_newest_picture_is_decoded_from_its_keyframe() -> None:
    video, packets = demuxed(clip_bytes(seconds=45, gop=450, container="mpegts"))
    feed, registry = a_feed()
    feed.begin(video)
    found = []
    for item in packets:
        feed.push([item], 0)
        if feed.status.frames_sampled > len(found):
            found.append(await feed.next_frame())
    assert [round(frame.stream_time - found[0].stream_time) for frame in found] == [0, 10, 20, 30, 40]
    assert all(pictures(frame) == list(frame.instants) for frame in found)
    assert registry.get_sample_value("monitor_frames_decoded_through_total") == 4


async def test_a_gop_that_outgrows_the_rings_bytes_is_not_decoded_through() -> None:
    feed, registry = a_feed(ring_bytes=100_000)
    feed.push([packet(0, key=True), *(packet(index * 100, size=2_000) for index in range(1, 400))], 0)
    assert feed.ring.size <= 100_000
    assert registry.get_sample_value("monitor_frames_decoded_through_total") == 0


def test_keyframes_that_come_in_time_are_never_decoded_through() -> None:
    feed, registry = a_feed()
    for index in range(20):
        feed.push(gop(index * 5000, 50), 0)
    assert registry.get_sample_value("monitor_frames_decoded_through_total") == 0
