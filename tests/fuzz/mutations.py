"""Spoils bytes in the ways that parsers trip over; the same seed gives the same bytes."""

from __future__ import annotations

import random
from collections.abc import Callable

Mutation = Callable[[random.Random, bytearray], None]

_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_WORDS = (b"-1", b"0", b"1e309", b"nan", b"99999999999999999999", b'"', b"\x00", b"\r\n", b"\xff\xfe", b"%s%n", b"=,=")
_MOST_BYTES = 400_000


def _flip(draw: random.Random, data: bytearray) -> None:
    for _ in range(draw.randint(1, 1 + len(data) // 200)):
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)


def _number(draw: random.Random, data: bytearray) -> None:
    width = draw.choice((1, 2, 3, 4, 8))
    at = draw.randrange(len(data))
    data[at : at + width] = (draw.choice(_NUMBERS) & (1 << 8 * width) - 1).to_bytes(
        width, draw.choice(("big", "little"))
    )


def _cut(draw: random.Random, data: bytearray) -> None:
    del data[draw.randrange(len(data)) :]


def _drop(draw: random.Random, data: bytearray) -> None:
    at = draw.randrange(len(data))
    del data[at : at + draw.randint(1, max(1, len(data) // 8))]


def _repeat(draw: random.Random, data: bytearray) -> None:
    at = draw.randrange(len(data))
    part = data[at : at + draw.randint(1, max(1, len(data) // 8))]
    data[at:at] = part * draw.randint(1, 20)


def _swap(draw: random.Random, data: bytearray) -> None:
    size = draw.randint(1, max(1, len(data) // 8))
    one, two = draw.randrange(len(data)), draw.randrange(len(data))
    data[one : one + size], data[two : two + size] = data[two : two + size], data[one : one + size]


def _word(draw: random.Random, data: bytearray) -> None:
    at = draw.randrange(len(data))
    data[at : at + draw.randint(0, 6)] = draw.choice(_WORDS)


def _noise(draw: random.Random, data: bytearray) -> None:
    at = draw.randrange(len(data))
    size = draw.randint(1, 64)
    data[at : at + size] = draw.randbytes(size)


_ALL: tuple[Mutation, ...] = (_flip, _number, _cut, _drop, _repeat, _swap, _word, _noise)


def mutated(seeds: list[bytes], case: int) -> bytes:
    """The input of one case: one of ``seeds``, spoilt one to four times."""
    draw = random.Random(case)
    data = bytearray(draw.choice(seeds))
    for _ in range(draw.randint(1, 4)):
        if data:
            draw.choice(_ALL)(draw, data)
    return bytes(data[:_MOST_BYTES])
