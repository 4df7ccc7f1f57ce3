"""The feed: one slot, waiting, epochs; and when a connection counts as stalled or lost."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from prometheus_client import CollectorRegistry
from support.packets import FORMAT, gop, packet
from support.watching import make_stream

from monitor.clock import ManualClock
from monitor.errors import StreamError, StreamReason
from monitor.streams.config import StreamsConfig
from monitor.streams.feed import Arrivals, StreamFeed
from monitor.streams.lifecycle import Backoff, Health, health, soonest_stall
from monitor.streams.metrics import StreamMetrics
from monitor.streams.stream import StreamState

CONFIG = StreamsConfig()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2026, 1, 1, tzinfo=UTC))


@pytest.fixture
async def feed(clock: ManualClock) -> StreamFeed:
    made = StreamFeed(make_stream("rtmp://example.com/live/x"), CONFIG, clock, StreamMetrics(CollectorRegistry()))
    made.begin(FORMAT)
    return made


async def test_the_newest_sampled_keyframe_wins_and_the_drop_is_counted(feed: StreamFeed) -> None:
    for start in (0, 2000, 4000):
        feed.push(gop(start), 1000)
    frame = await feed.next_frame()
    assert frame.stream_time == 4.0
    assert (feed.status.frames_sampled, feed.status.frames_dropped) == (3, 2)
    assert feed.status.bytes_received == 3000


async def test_a_frame_is_handed_out_once(feed: StreamFeed) -> None:
    feed.push(gop(0), 0)
    await feed.next_frame()
    waiting = asyncio.create_task(feed.next_frame())
    await asyncio.sleep(0)
    assert not waiting.done()
    feed.push(gop(2000), 0)
    assert (await asyncio.wait_for(waiting, 30)).stream_time == 2.0


async def test_a_keyframe_fetched_because_one_was_due_is_sampled_though_it_comes_a_moment_early(
    feed: StreamFeed,
) -> None:
    feed.push(gop(0), 0)
    await feed.next_frame()
    feed.push(gop(1000), 0)
    assert feed.status.frames_sampled == 1
    feed.skip(0.5)
    early = gop(1590)  # At an interval of 2 s none is due before 1.6.
    feed.push(early, 0)
    assert (await asyncio.wait_for(feed.next_frame(), 30)).stream_time == pytest.approx(1.59)


async def test_waiting_ends_when_the_ring_reaches_the_time(feed: StreamFeed) -> None:
    feed.push(gop(0), 0)
    assert await feed.wait_until(1, 0.9, 0)
    waiting = asyncio.create_task(feed.wait_until(1, 1.5, 5))
    await asyncio.sleep(0)
    assert not waiting.done()
    feed.push(gop(1000), 0)
    assert await waiting


async def test_waiting_ends_in_vain_after_its_time(feed: StreamFeed) -> None:
    feed.push(gop(0), 0)
    assert not await feed.wait_until(1, 99, 0.01)


async def test_waiting_ends_in_vain_with_a_new_epoch(feed: StreamFeed) -> None:
    feed.push(gop(0), 0)
    waiting = asyncio.create_task(feed.wait_until(1, 99, 5))
    await asyncio.sleep(0)
    feed.begin(FORMAT)
    assert not await asyncio.wait_for(waiting, 30)


@pytest.mark.parametrize(("jump_to", "epochs"), [(950, 1), (-200, 2), (10_500, 1), (12_000, 2)])
async def test_stream_time_that_jumps_begins_a_new_epoch(feed: StreamFeed, jump_to: int, epochs: int) -> None:
    feed.push(gop(0), 0)
    feed.push([packet(jump_to, key=True)], 0)
    assert feed.ring.epoch == epochs


async def test_the_first_keyframe_makes_it_live_and_the_log_names_no_address(
    feed: StreamFeed, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    feed.push([packet(0)], 0)
    assert feed.status.state is StreamState.CONNECTING
    feed.push(gop(100), 0)
    assert feed.status.state is StreamState.LIVE
    feed.enter(StreamState.BACKING_OFF, StreamReason.HTTP_ERROR, "at https://a.example/secret?key=1")
    assert "stream_state stream=room state=live reason=receiving" in caplog.text
    assert "secret" not in caplog.text


async def test_the_sampling_rate_is_that_of_the_last_half_minute(feed: StreamFeed, clock: ManualClock) -> None:
    for second in range(0, 60, 2):
        clock.elapsed_s = float(second)
        feed.push(gop(second * 1000), 0)
    assert feed.status.sampled_per_s == pytest.approx(0.5, abs=0.05)
    clock.elapsed_s = 120.0
    assert feed.status.sampled_per_s == 0.0


def arrivals(**values: float) -> Arrivals:
    return Arrivals(connected_at=0.0, **values)


@pytest.mark.parametrize("cadence_s", [0.0, 2.0, 10.0])
@pytest.mark.parametrize(
    "seen",
    [
        arrivals(begun_at=1.0, keyframe_at=2.0),
        arrivals(begun_at=1.0, keyframe_at=2.0, longest_gop_s=4.0),
        arrivals(begun_at=1.0, keyframe_at=2.0, delta_at=2.0),
        arrivals(begun_at=1.0, keyframe_at=2.0, delta_at=5.0),
        arrivals(begun_at=1.0, keyframe_at=2.0, stuck_at=3.0),
    ],
)
def test_until_the_soonest_stall_there_is_none(seen: Arrivals, cadence_s: float) -> None:
    soonest = soonest_stall(seen, CONFIG, cadence_s=cadence_s)
    assert soonest >= 2.0 + CONFIG.stall_after_s
    assert health(seen, CONFIG, cadence_s=cadence_s, now=soonest - 0.001) is Health.WELL


@pytest.mark.parametrize(
    ("seen", "cadence_s", "now", "verdict"),
    [
        (arrivals(), 0.0, 20.0, Health.WAITING),
        (arrivals(begun_at=1.0), 0.0, 20.0, Health.WAITING),
        (arrivals(begun_at=1.0, keyframe_at=2.0), 0.0, 6.9, Health.WELL),
        (arrivals(begun_at=1.0, keyframe_at=2.0), 0.0, 7.1, Health.STALLED),
        (arrivals(begun_at=1.0, keyframe_at=2.0, longest_gop_s=4.0), 0.0, 13.9, Health.WELL),
        (arrivals(begun_at=1.0, keyframe_at=2.0, longest_gop_s=4.0), 0.0, 14.1, Health.STALLED),
        (arrivals(begun_at=1.0, keyframe_at=2.0), 6.0, 19.9, Health.WELL),
    ],
)
def test_a_stream_is_stalled_after_a_few_of_its_own_gops(
    seen: Arrivals, cadence_s: float, now: float, verdict: Health
) -> None:
    assert health(seen, CONFIG, cadence_s=cadence_s, now=now) is verdict


@pytest.mark.parametrize(
    ("seen", "now", "reason"),
    [
        (arrivals(), 40.1, StreamReason.OPEN_TIMEOUT),
        (arrivals(begun_at=1.0), 21.1, StreamReason.NO_KEYFRAME),
        (arrivals(begun_at=1.0, keyframe_at=2.0), 22.1, StreamReason.NO_KEYFRAME),
    ],
)
def test_a_connection_without_keyframes_is_given_up_with_its_reason(
    seen: Arrivals, now: float, reason: StreamReason
) -> None:
    with pytest.raises(StreamError) as given_up:
        health(seen, CONFIG, cadence_s=0.0, now=now)
    assert given_up.value.reason is reason


def test_the_back_off_doubles_up_to_its_bound_with_full_jitter_and_starts_anew_after_a_reset() -> None:
    highest: list[tuple[float, float]] = []

    def draw(low: float, high: float) -> float:
        highest.append((low, high))
        return high / 2

    backoff = Backoff(1.0, 8.0, draw)
    assert [backoff.next_s() for _ in range(6)] == [0.5, 1.0, 2.0, 4.0, 4.0, 4.0]
    assert highest[0] == (0.0, 1.0)
    assert backoff.failures == 6
    backoff.reset()
    assert backoff.next_s() == 0.5
    for _ in range(5_000):
        assert backoff.next_s() <= 4.0
