"""Bounds on the memory that libav takes while it demuxes: a file of 6 kB can announce an index of a gigabyte."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import av._core

MOST_STREAMS = "8"
"""Streams in one input, for the option ``max_streams``; each may have an index."""

_MOST_AT_ONCE = 32 * 2**20
"""Bytes of one allocation: more than the largest segment's largest picture, and an index of 13 hours."""


_LIBAV_DEFAULT = 2**31 - 1


@contextmanager
def bounded_allocations() -> Iterator[None]:
    """Inside, no single allocation of this process's libav is larger than 32 MiB; what needs more is bad data.

    Decoders need more than that for large pictures: not for a process that decodes.
    """
    _set_most(_MOST_AT_ONCE)
    try:
        yield
    finally:
        _set_most(_LIBAV_DEFAULT)


def _set_most(size: int) -> None:
    with suppress(OSError, AttributeError):
        # Looked up through the extension, because OpenCV brings a libav of its own.
        most = ctypes.CDLL(av._core.__file__).av_max_alloc
        most.argtypes, most.restype = [ctypes.c_size_t], None
        most(size)
