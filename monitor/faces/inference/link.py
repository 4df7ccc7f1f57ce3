"""How a worker and the inference process speak: pixels through memory that both map, the rest over a socket.

The memory belongs to one worker, is sealed in its size, and holds the pictures of one request after the other. A
request says where they lie; an answer carries the network's output. The process takes nothing on trust but the
pixels' values: a worker meets hostile data.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from monitor.faces.align import CROP_PX
from monitor.faces.detect import GRID_PX
from monitor.faces.inference.candidates import VALUES_OF_A_CANDIDATE, Candidates
from monitor.faces.inference.micro_batch import LARGEST

MEMORY_BYTES = 4 * 2**20
"""Of one worker: three pictures of 640 x 640, or 32 crops."""
MOST_MESSAGE_BYTES = 2**18

_REQUEST = struct.Struct("!BBHHI")
_ANSWER = struct.Struct("!II")
_MOST_SIDE = 1024
"""Of a network of fixed size; others are asked for ``FINE_SIDE_PX`` at most."""


class Network(IntEnum):
    """Which network a request is for."""

    DETECTOR = 0
    RECOGNISER = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Pictures of one size that lie one after the other in the worker's memory."""

    network: Network
    count: int
    height: int
    width: int
    offset: int

    def encode(self) -> bytes:
        return _REQUEST.pack(self.network, self.count, self.height, self.width, self.offset)

    @classmethod
    def decode(cls, data: bytes) -> Request:
        """:raises ValueError: if it is none, or speaks of memory that there is not."""
        try:
            number, count, height, width, offset = _REQUEST.unpack(data)
        except struct.error as error:
            raise ValueError("not a request") from error
        request = cls(network=Network(number), count=count, height=height, width=width, offset=offset)
        sides_fit = 0 < height <= _MOST_SIDE and 0 < width <= _MOST_SIDE
        if not (1 <= count <= LARGEST and sides_fit and offset + request.size <= MEMORY_BYTES):
            raise ValueError(f"{count} pictures of {width} x {height} at {offset} do not fit")
        if request.network is Network.RECOGNISER and (height, width) != (CROP_PX, CROP_PX):
            raise ValueError(f"a crop has {CROP_PX} x {CROP_PX} pixels, not {width} x {height}")
        if request.network is Network.DETECTOR and (count != 1 or height % GRID_PX or width % GRID_PX):
            raise ValueError(f"a detector takes one picture, in multiples of {GRID_PX} pixels: not {width} x {height}")
        return request

    @property
    def size(self) -> int:
        """Bytes of its pictures."""
        return self.count * self.height * self.width * 3

    def pictures(self, memory: mmap.mmap) -> NDArray[np.uint8]:
        """Shape (count, height, width, 3), BGR, in ``memory``."""
        flat = np.frombuffer(memory, np.uint8, self.size, self.offset)
        return flat.reshape(self.count, self.height, self.width, 3)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answer:
    """What the network says of the pictures of one request."""

    offset: int
    """The request's."""
    output: NDArray[np.float32]
    """Shape (count, values of one picture)."""

    def encode(self) -> bytes:
        return _ANSWER.pack(self.offset, len(self.output)) + self.output.astype("<f4", copy=False).tobytes()

    @classmethod
    def decode(cls, data: bytes) -> Answer:
        offset, count = _ANSWER.unpack_from(data)
        values = np.frombuffer(data, "<f4", offset=_ANSWER.size).astype(np.float32, copy=False)
        return cls(offset=offset, output=values.reshape(count, -1))


def make_memory() -> int:
    """A file descriptor of memory for one worker, which nobody can make smaller or larger."""
    descriptor = os.memfd_create("monitor-pixels", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, MEMORY_BYTES)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    return descriptor


def map_memory(descriptor: int) -> mmap.mmap:
    """Map it, and close the descriptor.

    :raises OSError: if it is not as :func:`make_memory` makes it.
    """
    try:
        seals = fcntl.fcntl(descriptor, fcntl.F_GET_SEALS)
        if not seals & fcntl.F_SEAL_SHRINK or os.fstat(descriptor).st_size != MEMORY_BYTES:
            raise OSError("memory for pixels that could be taken away")
        return mmap.mmap(descriptor, MEMORY_BYTES)
    finally:
        os.close(descriptor)


class InferenceGone(Exception):
    """The inference process has ended; never leaves a worker."""


class InferenceClient:
    """A worker's side: a :class:`monitor.faces.inference.candidates.CandidateNetwork`, and a recogniser's features."""

    def __init__(self, connection: socket.socket, memory: mmap.mmap) -> None:
        self._connection = connection
        self._memory = memory

    def candidates(self, pictures: Sequence[NDArray[np.uint8]]) -> list[Candidates]:
        """See the protocol. All pictures are asked for at once.

        :raises InferenceGone: if the process has ended.
        """
        found = self._ask(Network.DETECTOR, [picture[np.newaxis] for picture in pictures])
        return [output.reshape(-1, VALUES_OF_A_CANDIDATE) for output in found]

    def features(self, crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """What the recogniser says of each crop (shape (112, 112, 3), BGR): shape (n, D), not normalised.

        :raises InferenceGone: if the process has ended.
        """
        parts = [np.stack(crops[begin : begin + LARGEST]) for begin in range(0, len(crops), LARGEST)]
        return np.concatenate([self._ask(Network.RECOGNISER, [part])[0] for part in parts])

    def _ask(self, network: Network, groups: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        """The output for each group of pictures of one size."""
        requests, offset = [], 0
        for group in groups:
            count, height, width, _ = group.shape
            requests.append(Request(network=network, count=count, height=height, width=width, offset=offset))
            offset += requests[-1].size
        if offset > MEMORY_BYTES:
            raise ValueError(f"pictures of {offset} bytes in one request, at most {MEMORY_BYTES} fit")
        try:
            for request, group in zip(requests, groups, strict=True):
                request.pictures(self._memory)[:] = group
                self._connection.send(request.encode())
            # They come in any order.
            answers = [self._receive() for _ in requests]
        except ConnectionError as error:
            raise InferenceGone from error
        by_offset = {answer.offset: answer.output for answer in answers}
        return [by_offset[request.offset] for request in requests]

    def _receive(self) -> Answer:
        data = self._connection.recv(MOST_MESSAGE_BYTES)
        if not data:
            raise InferenceGone
        return Answer.decode(data)
