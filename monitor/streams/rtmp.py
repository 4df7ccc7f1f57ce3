"""RTMP: the one protocol that libav itself connects for, to the address that the guard checked."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit

import av
from av.container import InputContainer

from monitor.streams.guard import Address
from monitor.streams.libav import FIRST_PROBE_S, LibavReading, av_options
from monitor.streams.packet import PacketSink
from monitor.streams.reach import Reach


def pinned_rtmp(url: str, address: Address) -> tuple[str, str]:
    """``url`` with its host replaced by the checked ``address``, and the tcUrl that names the host all the same.

    FFmpeg takes the application from the first path element, or the first two if there are three or more.
    """
    parts = urlsplit(url)
    elements = [element for element in parts.path.split("/") if element]
    application = "/".join(elements[: 2 if len(elements) > 2 else 1])
    port = f":{parts.port}" if parts.port else ""
    host = f"[{address}]" if address.version == 6 else str(address)
    named = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    credentials = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
    return (
        urlunsplit(parts._replace(netloc=f"{credentials}{host}{port}")),
        f"{parts.scheme}://{named}{port}/{application}",
    )


@dataclass(slots=True, kw_only=True)
class RtmpInput:
    """An RTMP address whose host was checked."""

    url: str = field(repr=False)
    options: dict[str, str] = field(repr=False)
    open_timeout_s: float
    read_timeout_s: float
    live: bool = True
    paced: bool = False

    def open(self, probe_s: float) -> InputContainer:
        """Connect; PyAV's timeout counts for each packet, so it also ends a peer that drips."""
        return av.open(
            self.url,
            mode="r",
            timeout=(self.open_timeout_s, self.read_timeout_s),
            options={**av_options(probe_s, "rtmp,rtmps,tcp,tls"), **self.options},
        )

    def expect_packet(self) -> None:
        """libav's own read timeout covers it."""

    def abort(self) -> None:
        """Nothing may touch libav's connection from outside; the read timeout ends it."""


class RtmpSource:
    """A room on an RTMP server."""

    cadence_s = 0.0

    def __init__(self, url: str, reach: Reach) -> None:
        self._url = url
        self._reach = reach

    async def run(self, sink: PacketSink) -> None:
        """Read until the server hangs up.

        :raises StreamError: always in the end; CLOSED_BY_PEER when the room is over.
        """
        addresses = await self._reach.guard.check(self._url)
        config = self._reach.config
        url, options = self._url, {"rtmp_live": "live"}
        if urlsplit(url).scheme == "rtmps":
            # TLS needs the name. The certificate is verified for it, so a name that has come to point at an
            # internal address since the check reaches nothing that could answer for it.
            paths = await asyncio.to_thread(ssl.get_default_verify_paths)
            options |= {"tls_verify": "1", "ca_file": paths.cafile or paths.openssl_cafile}
        else:
            url, options["rtmp_tcurl"] = pinned_rtmp(url, addresses[0])
        reading = LibavReading(
            RtmpInput(
                url=url,
                options=options,
                open_timeout_s=config.open_timeout_s,
                read_timeout_s=config.packet_timeout_s,
            ),
            self._reach.clock,
            FIRST_PROBE_S,
            config.open_timeout_s,
            keyframes_only=not config.ring_s,
        )
        await reading.run(sink)
