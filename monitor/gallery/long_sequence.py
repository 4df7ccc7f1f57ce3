"""Sequences as long as the largest gallery, which hold up no other thread while they are made, kept or let go."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Generic, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

_T = TypeVar("_T")

PIECE = 4096
"""What is done with so many at once holds the interpreter's lock for a few milliseconds at most."""


class LongSequence(Sequence[_T], Generic[_T]):
    """Never changes.

    The garbage collector does not walk through it, as it does, with the interpreter's lock held, through a tuple or a
    list that came up since its last visit; what it holds must therefore not refer back to it.
    """

    __slots__ = ("_items",)

    def __init__(self, items: Iterable[_T] = ()) -> None:
        rest = iter(items)
        pieces: list[NDArray[np.object_]] = []
        while len(piece := np.fromiter(islice(rest, PIECE), np.object_)):
            pieces.append(piece)
        self._items: NDArray[Any] = np.empty(sum(map(len, pieces)), np.object_)
        for number, piece in enumerate(pieces):
            self._items[number * PIECE : number * PIECE + len(piece)] = piece

    def at(self, rows: NDArray[np.int64]) -> list[_T]:
        """The items with these numbers."""
        found: list[_T] = self._items[rows].tolist()
        return found

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[_T]:
        for start in range(0, len(self._items), PIECE):
            yield from self._items[start : start + PIECE].tolist()

    @overload
    def __getitem__(self, at: int) -> _T: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[_T, ...]: ...
    def __getitem__(self, at: int | slice) -> _T | tuple[_T, ...]:
        return tuple(self._items[at].tolist()) if isinstance(at, slice) else self._items[at]

    def __repr__(self) -> str:
        return f"<{len(self)} items>"


def in_order(items: Iterable[_T], key: Callable[[_T], Any]) -> Iterator[_T]:
    """As ``sorted``, stable as that is, in pieces; what is nearly in order already takes little time."""
    runs: list[list[list[_T]]] = []
    last: Any = None
    rest = iter(items)
    while piece := sorted(islice(rest, PIECE), key=key):
        if runs and not key(piece[0]) < last:
            runs[-1].append(piece)
        else:
            runs.append([piece])
        last = key(piece[-1])
    return heapq.merge(*(_chained(run) for run in runs), key=key) if len(runs) > 1 else _chained(*runs)


def _chained(pieces: Sequence[list[_T]] = ()) -> Iterator[_T]:
    for piece in pieces:
        yield from piece
