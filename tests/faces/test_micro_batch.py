"""Requests of one size share a batch, none waits longer than the deadline, and none waits for nobody."""

from __future__ import annotations

import random

import pytest

from monitor.faces.inference.micro_batch import BUCKETS, LARGEST, MicroBatcher, Waiting, bucket

FINE, COARSE = (384, 640), (96, 160)


def waiting(name: str, since: float, shape: tuple[int, int] = FINE, count: int = 1) -> Waiting[str]:
    return Waiting(request=name, shape=shape, count=count, since=since)


def names(batch: list[Waiting[str]]) -> list[str]:
    return [one.request for one in batch]


def test_requests_gather_until_the_deadline_of_the_oldest() -> None:
    batcher: MicroBatcher[str] = MicroBatcher(0.005)
    batcher.add(waiting("a", since=10.000))
    batcher.add(waiting("b", since=10.004))
    assert batcher.take(10.0049, more_may_come=True) == []
    assert batcher.wake_in(10.004) == pytest.approx(0.001)
    assert names(batcher.take(10.0051, more_may_come=True)) == ["a", "b"]
    assert batcher.wake_in(10.006) is None


def test_nobody_waits_once_all_workers_have_asked() -> None:
    batcher: MicroBatcher[str] = MicroBatcher(0.005)
    batcher.add(waiting("a", since=10.0))
    assert names(batcher.take(10.0, more_may_come=False)) == ["a"]


def test_a_full_batch_does_not_wait() -> None:
    batcher: MicroBatcher[str] = MicroBatcher(0.005)
    for number in range(LARGEST + 1):
        batcher.add(waiting(str(number), since=10.0))
    assert names(batcher.take(10.0, more_may_come=True)) == [str(number) for number in range(LARGEST)]
    assert batcher.take(10.0, more_may_come=True) == []


def test_pictures_of_different_sizes_do_not_share_a_batch() -> None:
    batcher: MicroBatcher[str] = MicroBatcher(0.005)
    batcher.add(waiting("coarse", since=10.001, shape=COARSE))
    batcher.add(waiting("fine", since=10.000))
    assert names(batcher.take(10.1, more_may_come=True)) == ["fine"]
    assert names(batcher.take(10.1, more_may_come=True)) == ["coarse"]


@pytest.mark.parametrize("count", [0, LARGEST + 1])
def test_a_request_that_fits_no_batch_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match="1 to 32 pictures"):
        MicroBatcher[str](0.005).add(waiting("a", since=0.0, count=count))


@pytest.mark.parametrize("seed", range(30))
def test_every_request_is_served_once_in_order_and_no_batch_is_too_large(seed: int) -> None:
    chance = random.Random(seed)
    asked = [(chance.randint(1, LARGEST), chance.choice([FINE, COARSE])) for _ in range(chance.randint(0, 40))]
    batcher: MicroBatcher[str] = MicroBatcher(0.005)
    for number, (count, shape) in enumerate(asked):
        batcher.add(waiting(str(number), since=float(number), shape=shape, count=count))
    served: list[str] = []
    while batch := batcher.take(1e6, more_may_come=True):
        assert sum(one.count for one in batch) <= LARGEST
        assert len({one.shape for one in batch}) == 1
        served += names(batch)
    assert sorted(served, key=int) == [str(number) for number in range(len(asked))]
    for shape in (FINE, COARSE):
        of_shape = [name for name in served if asked[int(name)][1] == shape]
        assert of_shape == sorted(of_shape, key=int)


@pytest.mark.parametrize("pictures", range(1, LARGEST + 1))
def test_a_bucket_is_the_smallest_that_holds_the_pictures(pictures: int) -> None:
    assert bucket(pictures) >= pictures
    assert all(size < pictures for size in BUCKETS if size < bucket(pictures))
