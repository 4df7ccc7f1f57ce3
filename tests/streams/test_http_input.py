"""Recordings over HTTP that libav demuxes: nothing is lost between the first look and the packets."""

from __future__ import annotations

import io

import av
import pytest
from support.collecting import collecting
from support.hls import HttpServer
from support.video import clip_bytes
from support.waiting import wait_for
from support.watching import QUICK


def demuxed(data: bytes) -> list[bytes]:
    with av.open(io.BytesIO(data)) as container:
        return [bytes(packet) for packet in container.demux(container.streams.video[0]) if packet.size]


@pytest.mark.parametrize("container", ["matroska", "mpegts"])
@pytest.mark.parametrize("noise", [20, 120], ids=["within what is read at once", "larger"])
async def test_every_packet_of_a_recording_over_http_comes_out(server: HttpServer, container: str, noise: int) -> None:
    data = clip_bytes(seconds=4, gop=10, container=container, noise=noise, sound=True)
    expected = demuxed(data)
    assert len(expected) == 40
    url = server.serve("/room.bin", data)
    config = QUICK.model_copy(update={"open_timeout_s": 10.0, "read_timeout_s": 10.0})
    async with collecting(url, config, paced=False) as sink:
        await wait_for(lambda: sink.error or len(sink.packets) >= 40, timeout_s=20, what="all packets")
    assert [packet.data for packet in sink.packets] == expected
