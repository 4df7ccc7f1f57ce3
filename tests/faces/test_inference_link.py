"""What a worker and the inference process say to each other is checked, and their memory cannot be taken away."""

from __future__ import annotations

import fcntl
import mmap
import os
import socket

import numpy as np
import pytest

from monitor.faces.inference import link
from monitor.faces.inference.link import Answer, InferenceClient, InferenceGone, Network, Request
from monitor.faces.inference.micro_batch import LARGEST


@pytest.mark.parametrize(
    "fields",
    [
        {"count": 0},
        {"count": LARGEST + 1, "height": 32, "width": 32},
        {"height": 0},
        {"height": 2000},
        {"offset": link.MEMORY_BYTES - 10},
        {"network": Network.RECOGNISER},
        {"height": 100},
    ],
)
def test_a_request_beyond_the_memory_is_refused(fields: dict[str, int]) -> None:
    usual = {"network": Network.DETECTOR, "count": 1, "height": 384, "width": 640, "offset": 0}
    assert Request.decode(Request(**usual).encode()) == Request(**usual)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"fit|112 x 112|multiples"):
        Request.decode(Request(**{**usual, **fields}).encode())  # type: ignore[arg-type]


@pytest.mark.parametrize("data", [b"", b"\0", b"\x07" * 10, b"\0" * 11])
def test_what_is_no_request_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"not a request|not a valid Network"):
        Request.decode(data)


def test_an_answer_comes_back_as_it_was() -> None:
    output = np.arange(6, dtype=np.float32).reshape(2, 3)
    back = Answer.decode(Answer(offset=7, output=output).encode())
    assert back.offset == 7
    np.testing.assert_array_equal(back.output, output)


def test_a_worker_cannot_take_the_memory_away() -> None:
    descriptor = link.make_memory()
    for size in (0, 2 * link.MEMORY_BYTES):
        with pytest.raises(PermissionError):
            os.ftruncate(descriptor, size)
    with pytest.raises(PermissionError):
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, 0)
    os.close(descriptor)
    unsealed = os.memfd_create("unsealed", os.MFD_ALLOW_SEALING)
    os.ftruncate(unsealed, link.MEMORY_BYTES)
    with pytest.raises(OSError, match="could be taken away"):
        link.map_memory(unsealed)


def test_the_client_refuses_pictures_that_do_not_fit() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    client = InferenceClient(ours, mmap.mmap(-1, link.MEMORY_BYTES))
    with pytest.raises(ValueError, match="at most 4194304 fit"):
        client.candidates([np.zeros((640, 640, 3), np.uint8)] * 4)
    theirs.close()
    with ours, pytest.raises(InferenceGone):
        client.features([np.zeros((112, 112, 3), np.uint8)])
