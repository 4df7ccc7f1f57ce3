"""How fast connections are opened, and who is woken when a host comes back."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from support.watching import QUICK, until

from monitor.errors import StreamReason
from monitor.streams.budget import Allowance
from monitor.streams.gate import ConnectGate, HostGate, Pace
from monitor.streams.lifecycle import Backoff


def gate(*, per_s: float = 10_000, at_once: int = 50) -> ConnectGate:
    config = QUICK.model_copy(update={"connects_per_s": per_s, "connects_per_host_at_once": at_once})
    return ConnectGate(config, lambda _: None)


def test_moments_are_handed_out_at_the_rate_and_never_two_for_one() -> None:
    pace = Pace(10.0)
    waits = [pace.reserve(100.0) for _ in range(20)]
    assert waits[:2] == [0.0, 0.0]  # a tenth of a second's worth may be used at once
    steps = [later - earlier for earlier, later in itertools.pairwise(waits[1:])]
    assert steps == pytest.approx([0.1] * 18)
    assert pace.reserve(1_000.0) == 0.0


async def test_only_so_many_connections_are_opened_to_one_host_and_others_are_not_kept_waiting() -> None:
    gates = gate(at_once=2)
    host = gates.host("http://a.example/1.flv")
    assert gates.host("http://a.example/2.flv") is host
    slots = [await host.enter() for _ in range(2)]
    third = asyncio.ensure_future(host.enter())
    other = await asyncio.wait_for(gates.host("http://b.example/1.flv").enter(), 30)
    assert not third.done()
    slots[0].release()
    slots[0].release()
    (await asyncio.wait_for(third, 30)).release()
    other.release()


async def test_a_host_that_never_answers_frees_its_places_after_two_seconds() -> None:
    host = gate(at_once=1).host("rtmp://a.example/live/x")
    begun = asyncio.get_running_loop().time()
    await host.enter()
    await asyncio.wait_for(host.enter(), 30)
    assert 2.0 <= asyncio.get_running_loop().time() - begun <= 8


async def test_a_turn_that_is_given_up_frees_its_place() -> None:
    host = gate(per_s=1, at_once=1).host("http://a.example/")
    first = await host.enter()
    waiting = asyncio.ensure_future(host.enter())
    await asyncio.sleep(0)
    first.release()
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    (await asyncio.wait_for(host.enter(), 30)).release()


async def _resting(host: HostGate, *, wakeable: bool = True) -> asyncio.Task[bool]:
    task = asyncio.ensure_future(host.rest(30, wakeable=wakeable))
    await asyncio.sleep(0)
    return task


async def test_those_that_wait_for_a_host_that_was_down_are_woken_by_the_first_that_gets_through() -> None:
    host = gate().host("http://a.example/")
    host.failed(StreamReason.REFUSED)
    woken, stubborn = await _resting(host), await _resting(host, wakeable=False)
    host.answered()
    assert await asyncio.wait_for(woken, 30)
    assert not stubborn.done()
    stubborn.cancel()


@pytest.mark.parametrize("reason", [None, StreamReason.NOT_FOUND, StreamReason.BAD_DATA])
async def test_nobody_is_woken_by_a_host_that_was_not_down(reason: StreamReason | None) -> None:
    host = gate().host("http://a.example/")
    if reason is not None:
        host.failed(reason)
    resting = await _resting(host)
    host.answered()
    await asyncio.sleep(0)
    assert not resting.done()
    resting.cancel()


async def test_a_rest_that_is_not_cut_short_lasts_its_time() -> None:
    assert not await gate().host("http://a.example/").rest(0.01, wakeable=True)


async def test_hosts_that_no_stream_has_any_more_are_forgotten() -> None:
    gates = gate()
    held = gates.host("http://a.example/")
    for index in range(100):
        gates.host(f"http://host-{index}.example/")
    await until(lambda: len(gates._hosts) == 1)
    assert held is gates.host("http://a.example:80".removesuffix(":80") + "/x")


def test_waits_double_up_to_the_longest_and_a_room_that_was_just_on_the_air_waits_ten_seconds_at_most() -> None:
    backoff = Backoff(1.0, 30.0, draw=lambda _, most: most)
    assert [backoff.next_s() for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]
    assert [backoff.next_s(10.0), backoff.next_s(120.0), backoff.next_s(121.0)] == [10, 10, 30]
    backoff.reset()
    assert backoff.next_s(1.0) == 1


def test_an_allowance_is_used_up_and_comes_back_with_time() -> None:
    allowance = Allowance(60)
    assert sum(allowance.take(1, 0.0) for _ in range(100)) == 60
    assert sum(allowance.take(1, 10.0) for _ in range(100)) == 10
    assert sum(allowance.take(1, 10_000.0) for _ in range(100)) == 60


def test_what_came_all_at_once_is_paid_off_before_more_may_come() -> None:
    allowance = Allowance(600)
    assert allowance.take(900, 0.0)
    assert not allowance.take(1, 29.0)
    assert allowance.take(1, 31.0)
