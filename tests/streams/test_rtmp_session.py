"""The player's side of RTMP: what it asks for, how it answers, and what a server's words mean."""

from __future__ import annotations

import pytest
from support.flv import HEADER, NOW, SOUND, VIDEO, picture, tag

from monitor.errors import StreamError, StreamReason
from monitor.streams import rtmp_chunks as wire
from monitor.streams.amf import AmfValue, decode_command, encode_amf
from monitor.streams.packet import Packet, VideoFormat
from monitor.streams.rtmp_session import RtmpSession, rtmp_target

URL = "rtmp://cdn.example.com/live/key?token=a/b"
STREAM = 1


class Server:
    """The other side, by hand."""

    def __init__(self) -> None:
        self.session = RtmpSession(rtmp_target(URL), keyframes_only=False)
        self._heard = wire.ChunkReader(most_bytes=1 << 16)
        hello = self.said()
        assert len(hello) == 1537
        assert hello[0] == 3
        assert self.tell(b"\x03" + bytes(range(256)) * 6) == []
        answer = self.said()
        assert answer[:1536] == bytes(range(256)) * 6
        self.connect = self._heard.feed(answer[1536:])
        assert self.tell(bytes(1536)) == []

    def said(self) -> bytes:
        sent = bytes(self.session.to_send)
        self.session.to_send.clear()
        return sent

    def messages(self) -> list[wire.Message]:
        return self._heard.feed(self.said())

    def tell(self, data: bytes) -> list[object]:
        items = self.session.receive(data, NOW)
        if self.session.ending is not None and not items:
            raise self.session.ending
        return list(items)

    def command(self, *values: AmfValue, stream: int = 0) -> list[object]:
        return self.tell(wire.chunked(wire.COMMAND, encode_amf(*values), stream=stream, chunk_size=128))

    def send(self, kind: int, body: bytes, time_ms: int = 0) -> list[object]:
        return self.tell(wire.chunked(kind, body, stream=STREAM, time_ms=time_ms, chunk_size=128))

    def play(self) -> None:
        self.command("_result", 1.0, {"fmsVer": "x"}, {"code": "NetConnection.Connect.Success", "level": "status"})
        self.command("_result", 2.0, None, float(STREAM))
        self.messages()


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def playing(server: Server) -> Server:
    server.play()
    return server


@pytest.mark.parametrize(
    ("url", "application", "tc_url", "name"),
    [
        (URL, "live", "rtmp://cdn.example.com/live", "key?token=a/b"),
        ("rtmp://u:p@host:1936/app/instance/key", "app/instance", "rtmp://host:1936/app/instance", "key"),
        ("rtmps://[2001:db8::1]/a/b/c/d", "a/b", "rtmps://[2001:db8::1]/a/b", "c/d"),
    ],
)
def test_application_and_stream_are_taken_from_the_address(url: str, application: str, tc_url: str, name: str) -> None:
    target = rtmp_target(url)
    assert (target.application, target.tc_url, target.name) == (application, tc_url, name)
    assert name not in repr(target)


def test_an_address_without_a_stream_is_refused() -> None:
    with pytest.raises(StreamError) as refused:
        rtmp_target("rtmp://host/live")
    assert refused.value.reason is StreamReason.UNSUPPORTED
    assert not refused.value.retryable


def test_it_connects_by_name_opens_a_stream_and_asks_for_the_room(server: Server) -> None:
    (connect,) = server.connect
    name, number, (wanted,) = decode_command(connect.body)
    assert (name, number) == ("connect", 1.0)
    assert isinstance(wanted, dict)
    assert (wanted["app"], wanted["tcUrl"]) == ("live", "rtmp://cdn.example.com/live")
    assert "hvc1" in wanted["fourCcList"]  # type: ignore[operator]
    server.command("_result", 1.0, None, {"code": "NetConnection.Connect.Success"})
    assert decode_command(server.messages()[-1].body) == ("createStream", 2.0, (None,))
    server.command("_result", 2.0, None, 7.0)
    play, buffer = server.messages()
    assert decode_command(play.body) == ("play", 3.0, (None, "key?token=a/b", -1000.0))
    assert (play.stream, buffer.kind, buffer.body[:6]) == (7, wire.USER_CONTROL, b"\x00\x03\x00\x00\x00\x07")


def test_what_it_receives_is_acknowledged_once_a_window_and_pings_are_answered(playing: Server) -> None:
    playing.send(wire.WINDOW_SIZE, (10_000).to_bytes(4))
    playing.messages()
    for _ in range(3):
        playing.send(SOUND, bytes(4000))
    (acknowledged,) = playing.messages()
    assert acknowledged.kind == wire.ACKNOWLEDGEMENT
    assert int.from_bytes(acknowledged.body) > 10_000
    playing.send(wire.USER_CONTROL, b"\x00\x06\x01\x02\x03\x04")
    (pong,) = playing.messages()
    assert pong.body == b"\x00\x07\x01\x02\x03\x04"
    playing.send(wire.PEER_BANDWIDTH, (5_000).to_bytes(4) + b"\x02")
    (window,) = playing.messages()
    assert (window.kind, window.body) == (wire.WINDOW_SIZE, (5_000).to_bytes(4))


def test_video_comes_out_and_sound_and_scripts_do_not(playing: Server) -> None:
    assert [type(item) for item in playing.send(VIDEO, HEADER)] == [VideoFormat]
    assert playing.send(wire.DATA, encode_amf("onMetaData", {"width": 1280.0})) == []
    assert not playing.session.has_sound
    assert playing.send(SOUND, bytes(500)) == []
    assert playing.session.has_sound
    (read,) = playing.send(VIDEO, picture(b"x" * 1000, offset_ms=80), 0x1234567)
    assert isinstance(read, Packet)
    assert (read.dts, read.pts, read.data, read.is_keyframe) == (0x1234567, 0x1234567 + 80, b"x" * 1000, True)


def test_an_aggregate_is_taken_apart_and_its_times_count_from_its_own(playing: Server) -> None:
    playing.send(VIDEO, HEADER)
    inner = tag(SOUND, b"sound", 500) + tag(VIDEO, picture(b"a"), 520) + tag(VIDEO, picture(b"b", key=False), 560)
    read = playing.send(wire.AGGREGATE, inner, 9_000)
    assert [(item.dts, item.data) for item in read if isinstance(item, Packet)] == [(9_020, b"a"), (9_060, b"b")]


def test_aggregates_of_more_tags_at_once_than_any_room_sends_are_bad(playing: Server) -> None:
    some = wire.chunked(wire.AGGREGATE, tag(SOUND, b"") * 1500, stream=STREAM, chunk_size=128)
    assert playing.tell(some + some) == []
    with pytest.raises(StreamError) as refused:
        playing.tell(some * 3)
    assert refused.value.reason is StreamReason.BAD_DATA


def test_more_commands_at_once_than_any_server_says_are_bad(playing: Server) -> None:
    some = wire.chunked(wire.COMMAND, encode_amf("x", 0.0, *[None] * 1000), chunk_size=128)
    assert playing.tell(some * 60) == []
    with pytest.raises(StreamError) as refused:
        playing.tell(some * 70)
    assert refused.value.reason is StreamReason.BAD_DATA


@pytest.mark.parametrize(
    ("code", "level", "reason"),
    [
        ("NetStream.Play.StreamNotFound", "error", StreamReason.NOT_FOUND),
        ("NetStream.Play.UnpublishNotify", "status", StreamReason.CLOSED_BY_PEER),
        ("NetStream.Play.Stop", "status", StreamReason.CLOSED_BY_PEER),
        ("Something.New", "error", StreamReason.NOT_FOUND),
    ],
)
def test_a_status_that_ends_the_room_is_named(playing: Server, code: str, level: str, reason: StreamReason) -> None:
    playing.command("onStatus", 0.0, None, {"level": "status", "code": "NetStream.Play.Start"}, stream=STREAM)
    with pytest.raises(StreamError) as ended:
        playing.command("onStatus", 0.0, None, {"level": level, "code": code, "description": "token=a"}, stream=STREAM)
    assert ended.value.reason is reason
    assert "token" not in str(ended.value)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("NetConnection.Connect.Rejected", StreamReason.FORBIDDEN),
        ("NetConnection.Connect.InvalidApp", StreamReason.NOT_FOUND),
        ("", StreamReason.FORBIDDEN),
    ],
)
def test_a_connection_that_is_refused_is_named(server: Server, code: str, reason: StreamReason) -> None:
    with pytest.raises(StreamError) as refused:
        server.command("_error", 1.0, None, {"level": "error", "code": code, "description": "a secret"})
    assert refused.value.reason is reason
    assert "secret" not in str(refused.value)


def test_pictures_that_come_together_with_the_end_are_not_lost(playing: Server) -> None:
    playing.send(VIDEO, HEADER)
    end = encode_amf("onStatus", 0.0, None, {"code": "NetStream.Play.UnpublishNotify"})
    last = wire.chunked(VIDEO, picture(), stream=STREAM) + wire.chunked(wire.COMMAND, end, stream=STREAM)
    assert len(playing.tell(last)) == 1
    assert playing.session.ending is not None
    assert playing.session.ending.reason is StreamReason.CLOSED_BY_PEER


def test_the_end_of_the_stream_is_the_end_and_that_of_another_is_not(playing: Server) -> None:
    playing.send(wire.USER_CONTROL, b"\x00\x01\x00\x00\x00\x09")
    with pytest.raises(StreamError) as ended:
        playing.send(wire.USER_CONTROL, b"\x00\x01\x00\x00\x00\x01")
    assert ended.value.reason is StreamReason.CLOSED_BY_PEER


def test_what_does_not_speak_rtmp_is_bad_data() -> None:
    session = RtmpSession(rtmp_target(URL), keyframes_only=False)
    with pytest.raises(StreamError) as refused:
        session.receive(b"HTTP/1.1 400 Bad Request\r\n", NOW)
    assert refused.value.reason is StreamReason.BAD_DATA
