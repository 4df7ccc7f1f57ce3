"""Connecting to an RTMP server: every address has its turn, and no socket is left behind."""

from __future__ import annotations

import asyncio
import select
import socket
import ssl
import struct
import threading
from collections.abc import Iterator, Sequence
from ipaddress import ip_address

import pytest
from support.collecting import collecting
from support.hls import tcp_server
from support.packets import FORMAT, packet
from support.waiting import wait_for
from support.watching import QUICK

from monitor.clock import SystemClock
from monitor.errors import StreamError, StreamReason
from monitor.streams import rtmp
from monitor.streams.guard import Address
from monitor.streams.intake import Intake
from monitor.streams.packet import Packet, VideoFormat


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of one TCP connection; the first is ours, and is not blocked."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        ours = socket.create_connection(listening.getsockname())
        theirs, _ = listening.accept()
        ours.setblocking(False)
        with ours, theirs:
            yield ours, theirs


async def test_a_peer_that_resets_before_tls_is_refused_and_its_socket_closed(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    theirs.close()
    assert select.select([ours], [], [], 10)[0]
    with pytest.raises(StreamError) as refused:
        await rtmp._secured(ours, "rooms.test")
    assert refused.value.reason is StreamReason.REFUSED
    assert ours.fileno() == -1


async def test_a_name_that_tls_cannot_ask_for_is_refused_and_the_socket_closed(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    with pytest.raises(StreamError) as refused:
        await rtmp._secured(pair[0], ".rooms.test")
    assert refused.value.reason is StreamReason.REFUSED
    assert pair[0].fileno() == -1


async def test_a_run_that_is_cancelled_while_the_authorities_are_read_leaves_no_socket(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow() -> ssl.SSLContext:
        begun.set()
        go_on.wait(20)
        return ssl.create_default_context()

    monkeypatch.setattr(rtmp, "trusting_context", slow)
    securing = asyncio.create_task(rtmp._secured(pair[0], "rooms.test"))
    await wait_for(begun.is_set, timeout_s=30, what="the thread")
    securing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await securing
    go_on.set()
    assert pair[0].fileno() == -1


@pytest.mark.parametrize("answers", [True, False], ids=["the last answers", "none answers"])
async def test_an_address_that_never_answers_leaves_time_for_the_next(
    monkeypatch: pytest.MonkeyPatch, answers: bool
) -> None:
    connect = rtmp._connected
    tried: list[str] = []

    async def connected(address: Address, port: int) -> socket.socket:
        tried.append(str(address))
        if len(tried) < 3 or not answers:
            await asyncio.Event().wait()
        return await connect(ip_address("127.0.0.1"), port)

    async def names(_: str, port: int, **__: object) -> list[object]:
        return [(2, 1, 6, "", (f"127.0.0.{last}", port)) for last in (7, 8, 1)]

    greeted = asyncio.Event()

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1537)
        greeted.set()
        await reader.read()

    monkeypatch.setattr(rtmp, "_connected", connected)
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", names)
    config = QUICK.model_copy(update={"open_timeout_s": 6.0 if answers else 1.5})
    async with tcp_server(speak) as port, collecting(f"rtmp://rooms.test:{port}/live/room", config) as sink:
        await wait_for(lambda: sink.error is not None or greeted.is_set(), timeout_s=20, what="a connection, or an end")
        assert greeted.is_set() == answers
    assert tried == ["127.0.0.7", "127.0.0.8", "127.0.0.1"]
    assert answers or (sink.error is not None and sink.error.reason is StreamReason.OPEN_TIMEOUT)


class Counted:
    """A sink that remembers what it was told, in order."""

    def __init__(self) -> None:
        self.told: list[tuple[int, int]] = []

    def begin(self, video: VideoFormat) -> None:
        self.told.append((-1, 0))

    def push(self, packets: Sequence[Packet], received_bytes: int) -> None:
        self.told.append((len(packets), received_bytes))

    async def drained(self) -> None:
        return


def test_bytes_count_as_they_come_also_before_the_format_is_known() -> None:
    sink = Counted()
    intake = Intake(sink, SystemClock(), QUICK)
    intake.take([], 1000)
    assert sink.told == [(0, 1000)]
    intake.take([FORMAT, packet(0, key=True)], 500)
    intake.take([], 7)
    assert [told for told in sink.told if told[0] < 0 or told[0]] == [(-1, 0), (1, 0)]
    assert sum(count for _, count in sink.told) == 1507
