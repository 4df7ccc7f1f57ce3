"""A gallery of any length: what holds it is as a list is, and takes no thread's time away."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from support.gallery import unit

from monitor.gallery.long_sequence import PIECE, LongSequence, in_order

COUNTS = (0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 7)


@pytest.mark.parametrize("count", COUNTS)
def test_it_holds_what_a_list_of_the_same_would(count: int) -> None:
    items = [np.full(2, number) for number in range(count)]
    sequence = LongSequence(iter(items))
    assert len(sequence) == count
    assert all(one is other for one, other in zip(sequence, items, strict=True))
    assert bool(sequence) == bool(items)
    for at in (slice(None, 5), slice(PIECE - 2, PIECE + 3), slice(None, None, 1000)):
        assert [id(one) for one in sequence[at]] == [id(one) for one in items[at]]
    if count:
        assert sequence[0] is items[0]
        assert sequence[-1] is items[-1]
        assert sequence.at(np.array([count - 1, 0])) == [items[-1], items[0]]
    with pytest.raises(IndexError):
        sequence[count]


def test_the_garbage_collector_does_not_walk_through_it() -> None:
    held = gc.get_referents(LongSequence([unit(1)] for _ in range(10)))
    assert held
    assert not any(gc.is_tracked(one) for one in held if not isinstance(one, type))


@pytest.mark.parametrize("count", COUNTS)
def test_items_are_put_in_order_as_sorted_does_those_that_are_alike_as_they_came(count: int) -> None:
    random = np.random.default_rng(1)
    items = list(zip(random.integers(0, 50, count).tolist(), range(count), strict=True))
    ordered = sorted(items, key=lambda item: item[0])
    assert list(in_order(items, lambda item: item[0])) == ordered
    nearly = [*ordered[100:], *ordered[:100]]
    assert list(in_order(nearly, lambda item: item[0])) == sorted(nearly, key=lambda item: item[0])
