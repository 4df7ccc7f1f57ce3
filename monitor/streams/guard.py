"""The address guard: no URL makes the daemon read a local file or reach an internal address unasked.

Names are resolved once and the connection goes to the address that was checked, so that a name which
changes its answer between check and connection (DNS rebinding) gains nothing.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path
from urllib.parse import unquote, urlsplit

from aiohttp.abc import AbstractResolver, ResolveResult

from monitor.errors import AddressRefused, StreamError, StreamReason
from monitor.streams.config import NetworkConfig

Address = IPv4Address | IPv6Address

DEFAULT_PORTS = {"http": 80, "https": 443, "rtmp": 1935, "rtmps": 443}
_NAT64 = IPv6Network("64:ff9b::/96")
# Site-local, local NAT64, IPv4-compatible and IPv4-translated: where such an address leads is the host's affair.
_NEVER_PUBLIC = tuple(map(IPv6Network, ("fec0::/10", "64:ff9b:1::/48", "::/96", "::ffff:0:0:0/96")))
_RESOLVE_TIMEOUT_S = 5.0
_MOST_LITERALS = 1024


def effective(address: Address) -> Address:
    """The address that packets end at: IPv4 inside IPv4-mapped, 6to4 and NAT64 addresses is unwrapped."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped:
            return address.ipv4_mapped
        if address.sixtofour:
            return address.sixtofour
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def file_path(url: str) -> Path:
    """The path of a ``file:`` URL or of a bare path."""
    parts = urlsplit(url)
    return Path(unquote(parts.path)) if parts.scheme == "file" else Path(url)


class AddressGuard:
    """Says which addresses and files may be read."""

    def __init__(self, config: NetworkConfig) -> None:
        self._allowed = tuple(ip_network(item) for item in config.allow)
        self._folders = config.allow_files
        # Asked for every request, and the answer never changes.
        self.literal = lru_cache(_MOST_LITERALS)(self._literal)

    def permits(self, address: Address) -> bool:
        """Whether ``address`` is public, or listed in ``network.allow``."""
        inner = effective(address)
        if any(candidate in network for network in self._allowed for candidate in (address, inner)):
            return True
        if isinstance(inner, IPv6Address) and (inner.teredo or any(inner in network for network in _NEVER_PUBLIC)):
            return False
        return inner.is_global and not inner.is_multicast

    def select(self, host: str, addresses: Sequence[Address]) -> tuple[Address, ...]:
        """Those of ``addresses`` that may be reached.

        :raises AddressRefused: if there is none.
        """
        chosen = tuple(address for address in addresses if self.permits(address))
        if not chosen:
            shown = ", ".join(sorted({str(address) for address in addresses} - {host}))
            found = f"{host} is {shown}, not public" if shown else f"{host} is not public"
            raise AddressRefused(f"{found}; to read it, add its network to network.allow")
        return chosen

    async def resolve(self, host: str, port: int) -> tuple[Address, ...]:
        """The addresses of ``host`` that may be reached.

        :raises AddressRefused: if there is none.
        :raises StreamError: UNRESOLVED.
        """
        if (literal := self.literal(host)) is not None:
            return literal
        try:
            async with asyncio.timeout(_RESOLVE_TIMEOUT_S):
                found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, TimeoutError, UnicodeError) as err:
            raise StreamError(StreamReason.UNRESOLVED, f"no address for {host}") from err
        # A scoped address (fe80::1%eth0) keeps its scope out of the comparison.
        return self.select(host, [ip_address(str(entry[4][0]).partition("%")[0]) for entry in found])

    def _literal(self, host: str) -> tuple[Address, ...] | None:
        """The address that ``host`` spells out in full; None for names and for spellings that only a resolver knows.

        :raises AddressRefused: if it may not be reached.
        """
        try:
            address = ip_address(host.partition("%")[0])
        except ValueError:
            return None
        return self.select(host, (address,))

    async def check(self, url: str) -> tuple[Address, ...]:
        """The addresses that ``url`` may be read from.

        :raises AddressRefused: for schemes that are not of the network and for hosts that are not allowed.
        :raises StreamError: UNRESOLVED, UNSUPPORTED.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError as err:
            raise StreamError(StreamReason.UNSUPPORTED, "the address is malformed", retryable=False) from err
        if parts.scheme not in DEFAULT_PORTS:
            raise AddressRefused(f"scheme {parts.scheme or 'file'!r}; allowed: {', '.join(DEFAULT_PORTS)}")
        if not host:
            raise StreamError(StreamReason.UNSUPPORTED, "the address names no host", retryable=False)
        return await self.resolve(host, port or DEFAULT_PORTS[parts.scheme])

    def check_file(self, url: str) -> Path:
        """The file that ``url`` names, links resolved. Touches the disk: not for the event loop's thread.

        :raises AddressRefused: outside the folders of ``network.allow_files``.
        """
        path = file_path(url).resolve()
        if not any(path.is_relative_to(folder.resolve()) for folder in self._folders):
            raise AddressRefused("a local file; to watch it, add its folder to network.allow_files")
        return path


class GuardedResolver(AbstractResolver):
    """aiohttp's way to the guard: a connection only ever sees addresses that were checked."""

    def __init__(self, guard: AddressGuard) -> None:
        self._guard = guard

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """:raises AddressRefused: if no address of ``host`` may be reached."""
        return [
            ResolveResult(
                hostname=host,
                host=str(address),
                port=port,
                family=socket.AF_INET if address.version == 4 else socket.AF_INET6,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in await self._guard.resolve(host, port)
        ]

    async def close(self) -> None:
        """Nothing is held."""
