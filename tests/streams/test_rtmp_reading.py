"""RTMP over real connections: what ffmpeg sent comes out whole, TLS is verified, nothing is resolved twice."""

from __future__ import annotations

import asyncio
import datetime
import io
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path

import av
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from support.collecting import collecting
from support.flv import HEADER, picture
from support.hls import tcp_server
from support.rtmp import missing_programs, nginx_rtmp, publisher
from support.video import clip_bytes, write_clip
from support.waiting import wait_for
from support.watching import IMPATIENT, QUICK

from monitor.demo.clip import Clip, load_clip
from monitor.demo.live_flv import LiveFlv
from monitor.demo.live_rtmp import LiveRtmp, media_chunks
from monitor.errors import StreamReason
from monitor.streams import rtmp
from monitor.streams.config import StreamsConfig
from monitor.streams.rounds import ROUND_S, Rounds
from monitor.streams.rtmp_chunks import SOUND, VIDEO

LIVE = QUICK.model_copy(update={"open_timeout_s": 8.0, "read_timeout_s": 5.0})
NAME = "rooms.test"
needs_rtmp = pytest.mark.skipif(bool(missing_programs()), reason=missing_programs() or "all there")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    path = tmp_path_factory.mktemp("rtmp") / "clip.mp4"
    path.write_bytes(clip_bytes(seconds=4, gop=10, noise=60))
    return load_clip(path)


def payloads(data: bytes) -> list[tuple[bytes, int]]:
    """Each picture of a file, and how much later than decoded it is shown (ms)."""
    with av.open(io.BytesIO(data)) as container:
        stream = container.streams.video[0]
        return [(bytes(p), round((p.pts - p.dts) * stream.time_base * 1000)) for p in container.demux(stream) if p.size]


@needs_rtmp
@pytest.mark.parametrize("chunk_size", [128, 4096, 65536])
async def test_every_picture_that_ffmpeg_publishes_comes_out_of_nginx_as_it_was(
    tmp_path: Path, chunk_size: int
) -> None:
    path = write_clip(tmp_path / "room.flv", seconds=4, fps=15, gop=15, sound=True, bframes=2, noise=80)
    expected = payloads(path.read_bytes())
    with nginx_rtmp(tmp_path, chunk_size=chunk_size) as server, publisher(path, server.url("room")):
        # Until ffmpeg is there, the server knows no such room.
        deadline = asyncio.get_running_loop().time() + 15
        while True:
            async with collecting(server.url("room"), LIVE) as sink:
                await wait_for(lambda s=sink: s.error or len(s.packets) >= 45, timeout_s=30, what="three seconds")
            if sink.error is None:
                break
            assert asyncio.get_running_loop().time() < deadline, sink.error
    assert len(sink.formats) == 1
    seen = [(packet.data, packet.pts - packet.dts) for packet in sink.packets]
    start = next(index for index, (data, _) in enumerate(expected) if data == seen[0][0])
    assert [data for data, _ in seen] == [expected[(start + index) % len(expected)][0] for index in range(len(seen))]
    assert seen[0][1] == expected[start][1]


async def test_a_room_has_no_thread_of_its_own_and_is_read_in_a_few_big_pieces_a_second(clip: Clip) -> None:
    before = set(threading.enumerate())
    async with LiveRtmp() as server:
        url = await server.add("room", clip, on_air_for_s=1.0)
        async with collecting(url, LIVE) as sink:
            await wait_for(lambda: len(sink.packets) >= 30, timeout_s=30, what="pictures")
            begun = set(threading.enumerate()) - before
            assert not any(thread.name == "libav" for thread in begun)
            span_s = (sink.packets[-1].dts - sink.packets[0].dts) / 1000
            assert sink.pushes <= 2 * span_s / ROUND_S + 10
            assert sink.received >= sum(len(packet.data) for packet in sink.packets)


async def test_where_no_ring_is_kept_only_keyframes_come_out(clip: Clip) -> None:
    async with LiveRtmp() as server, LiveFlv() as flv:
        for publishing in (server, flv):
            url = await publishing.add("room", clip, on_air_for_s=1.0)
            async with collecting(url, LIVE.model_copy(update={"ring_s": 0.0})) as sink:
                await wait_for(lambda s=sink: len(s.packets) >= 3, timeout_s=30, what="keyframes")
            assert all(packet.is_keyframe for packet in sink.packets)


async def test_a_room_of_sound_only_is_no_video(clip: Clip) -> None:
    async def play(_: object, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not reader.at_eof():
            writer.write(media_chunks(SOUND, bytes(100), 0))
            await asyncio.sleep(0.05)

    async with LiveRtmp(play=play) as server:  # type: ignore[arg-type]
        url = await server.add("room", clip)
        async with collecting(url, IMPATIENT) as sink:
            await wait_for(lambda: sink.error is not None, timeout_s=30, what="an end")
    assert sink.error is not None
    assert sink.error.reason is StreamReason.NO_VIDEO


async def test_a_server_that_asks_without_end_is_left_and_does_not_fill_the_memory() -> None:
    """Pings, none of whose answers is read."""

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hello = await reader.readexactly(1537)
        writer.write(hello + hello[1:])
        pings = b"\x02\x00\x00\x00\x00\x00\x06\x04\x00\x00\x00\x00\x00\x06\x00\x00\x00\x00" * 1000
        while True:
            writer.write(pings)
            await writer.drain()

    async with tcp_server(speak) as port:
        config = LIVE.model_copy(update={"open_timeout_s": 30.0})
        async with collecting(f"rtmp://127.0.0.1:{port}/live/room", config) as sink:
            await wait_for(lambda: sink.error is not None, timeout_s=25, what="an end")
    assert sink.error is not None
    assert sink.error.reason is StreamReason.BAD_DATA


class Names:
    """Says where ``rooms.test`` is, once; whoever asks again is sent elsewhere."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int, **_: object) -> list[object]:
        self.asked.append(host)
        address = "127.0.0.1" if self.asked.count(host) == 1 else "127.0.0.66"
        return [(2, 1, 6, "", (str(ip_address(host)) if host[0].isdigit() else address, port))]


@pytest.fixture
async def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    asked = Names()
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", asked)
    return asked


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A certificate that vouches for itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


@asynccontextmanager
async def behind_tls(folder: Path, name: str, inner: int, record: int = 1 << 16) -> AsyncIterator[int]:
    """A port of 127.0.0.1 that leads to ``inner`` through TLS, with a certificate for ``name``.

    :param record: no record of TLS holds more bytes.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate(folder, name))
    pipes: set[asyncio.Task[None]] = set()

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                for at in range(0, len(data), record):
                    writer.write(data[at : at + record])
                await writer.drain()
        finally:
            writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection("127.0.0.1", inner)
        for one in (pipe(reader, there[1]), pipe(there[0], writer)):
            pipes.add(asyncio.create_task(one))

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in pipes:
            task.cancel()
        await asyncio.gather(*pipes, return_exceptions=True)


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The certificate of this test's server is among the system's authorities."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
    rtmp.trusting_context.cache_clear()
    yield
    rtmp.trusting_context.cache_clear()


def port_of(url: str) -> int:
    return int(url.split(":")[2].split("/")[0])


async def test_rtmps_with_a_certificate_that_nobody_vouches_for_is_refused(
    clip: Clip, tmp_path: Path, names: Names
) -> None:
    rtmp.trusting_context.cache_clear()
    async with LiveRtmp() as server:
        inner = port_of(await server.add("room", clip))
        async with (
            behind_tls(tmp_path, NAME, inner) as port,
            collecting(f"rtmps://{NAME}:{port}/live/room?key=hidden") as sink,
        ):
            await wait_for(lambda: sink.error is not None, timeout_s=30, what="an end")
    assert sink.error is not None
    assert sink.error.reason is StreamReason.REFUSED
    assert "TLS" in sink.error.detail
    assert "hidden" not in str(sink.error)


@pytest.mark.usefixtures("trusted")
async def test_rtmps_with_a_trusted_certificate_is_read_from_the_address_that_was_checked(
    clip: Clip, tmp_path: Path, names: Names
) -> None:
    async with LiveRtmp() as server:
        inner = port_of(await server.add("room", clip, on_air_for_s=1.0))
        async with (
            behind_tls(tmp_path, NAME, inner) as port,
            collecting(f"rtmps://{NAME}:{port}/live/room", LIVE) as sink,
        ):
            await wait_for(lambda: sink.error or len(sink.packets) >= 30, timeout_s=30, what="pictures")
    assert sink.error is None
    assert names.asked.count(NAME) == 1


@pytest.mark.usefixtures("trusted")
async def test_rtmps_in_small_records_is_read_as_fast_as_it_comes(clip: Clip, tmp_path: Path, names: Names) -> None:
    """Eight records a round would take more than a minute."""

    async def play(_: object, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(media_chunks(VIDEO, HEADER, 0))
        for number in range(400):
            writer.write(media_chunks(VIDEO, picture(bytes(10_000), key=not number), number * 40))
        await reader.read()

    async with LiveRtmp(play=play) as server:  # type: ignore[arg-type]
        inner = port_of(await server.add("room", clip))
        async with (
            behind_tls(tmp_path, NAME, inner, record=1400) as port,
            collecting(f"rtmps://{NAME}:{port}/live/room", LIVE) as sink,
        ):
            await wait_for(lambda: sink.error or len(sink.packets) >= 400, timeout_s=25, what="all pictures")
    assert sink.error is None
    assert sink.received >= 4_000_000


async def test_a_server_that_floods_with_messages_is_left(clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rtmp, "_MESSAGES_A_MINUTE", 1_000)

    async def play(_: object, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(media_chunks(VIDEO, HEADER, 0))
        while not reader.at_eof():
            writer.write(media_chunks(VIDEO, b"", 0) * 100)
            await asyncio.sleep(0.02)

    async with LiveRtmp(play=play) as server:  # type: ignore[arg-type]
        url = await server.add("room", clip)
        async with collecting(url, LIVE) as sink:
            await wait_for(lambda: sink.error is not None, timeout_s=20, what="an end")
    assert sink.error is not None
    assert sink.error.reason is StreamReason.BAD_DATA


@pytest.mark.usefixtures("trusted")
async def test_rtmps_with_the_certificate_of_another_name_is_refused(clip: Clip, tmp_path: Path, names: Names) -> None:
    async with LiveRtmp() as server:
        inner = port_of(await server.add("room", clip))
        async with (
            behind_tls(tmp_path, "other.test", inner) as port,
            collecting(f"rtmps://{NAME}:{port}/live/room") as sink,
        ):
            await wait_for(lambda: sink.error is not None, timeout_s=30, what="an end")
    assert sink.error is not None
    assert sink.error.reason is StreamReason.REFUSED


@pytest.mark.parametrize("scheme", ["rtmp", "rtmps"])
async def test_a_peer_that_never_speaks_is_left_when_the_open_timeout_ends(scheme: str) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with tcp_server(silent) as port, collecting(f"{scheme}://127.0.0.1:{port}/live/room", IMPATIENT) as sink:
        await wait_for(lambda: sink.error is not None, timeout_s=30, what="an end")
    assert sink.error is not None
    assert sink.error.reason is StreamReason.OPEN_TIMEOUT


async def test_plain_rtmp_goes_to_the_address_that_was_checked_and_names_the_host(clip: Clip, names: Names) -> None:
    async with LiveRtmp() as server:
        port = port_of(await server.add("room", clip, on_air_for_s=1.0))
        async with collecting(f"rtmp://{NAME}:{port}/live/room", LIVE) as sink:
            await wait_for(lambda: sink.error or len(sink.packets) >= 10, timeout_s=30, what="pictures")
    assert sink.error is None
    assert names.asked.count(NAME) == 1


async def test_rounds_visit_all_a_few_at_a_time_and_forget_those_who_left() -> None:
    config = StreamsConfig()
    assert config.read_timeout_s > ROUND_S
    rounds = Rounds()
    visits = [0] * 40
    leave = []
    for number in range(40):

        def visit(at: int = number) -> None:
            visits[at] += 1

        leave.append(rounds.join(visit))
    await wait_for(lambda: min(visits) >= 3, timeout_s=30, what="three rounds")
    assert max(visits) <= min(visits) + 1
    for one in leave:
        one()
        one()
    seen = list(visits)
    await asyncio.sleep(0)
    again = rounds.join(lambda: visits.append(1))
    await wait_for(lambda: len(visits) >= 42, timeout_s=30, what="a newcomer's rounds")
    assert visits[:40] == seen
    again()
