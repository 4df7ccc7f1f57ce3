"""Listens for browsers, probes and Prometheus."""

from __future__ import annotations

import errno
import logging
import socket

from aiohttp import web

from monitor.errors import ConfigError
from monitor.web.config import WebConfig

log = logging.getLogger(__name__)

SHUTDOWN_S = 2.0
_BACKLOG = 128


class WebServer:
    """Serves one application: ``bind``, then ``serve``, at the end ``aclose``.

    Between the first two, who connects waits: so the address is known, and known to be free, before there is
    anything to show.
    """

    def __init__(self, config: WebConfig) -> None:
        self._config = config
        self._port = config.port
        self._socket: socket.socket | None = None
        self._runner: web.AppRunner | None = None

    @property
    def port(self) -> int:
        """The port that is listened on: the real one, once bound, where the settings say 0."""
        return self._port

    @property
    def url(self) -> str:
        """``web.base_url``, or where this server listens; without a slash at the end."""
        host = f"[{self._config.host}]" if ":" in self._config.host else self._config.host
        return self._config.base_url or f"http://{host}:{self._port}"

    def bind(self) -> None:
        """Take the address.

        :raises ConfigError: the port is in use, or the address is not this machine's.
        """
        self._socket = listening_socket(self._config)
        self._port = int(self._socket.getsockname()[1])

    async def serve(self, app: web.Application) -> None:
        """Begin to answer; returns at once. Binds first if that was not done.

        :raises ConfigError: as ``bind``.
        """
        if self._socket is None:
            self.bind()
        assert self._socket is not None
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_S)
        await self._runner.setup()
        await web.SockSite(self._runner, self._socket).start()
        log.info("web_listening host=%s port=%d", self._config.host, self._port)

    async def aclose(self) -> None:
        """Stop listening; requests under way have ``SHUTDOWN_S`` to end. Closing twice, or unbound, is harmless."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def listening_socket(config: WebConfig) -> socket.socket:
    """A socket that listens where ``config`` says; the caller closes it.

    :raises ConfigError: nobody can listen there; says why and what to do.
    """
    try:
        found = socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        # A name such as localhost has both kinds; IPv4 is what people and Prometheus try first.
        family, kind, protocol, _, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
        listening = socket.socket(family, kind, protocol)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(_BACKLOG)
        except BaseException:  # whatever it was, the socket is not left open; raised on
            listening.close()
            raise
    except (OSError, UnicodeError) as err:
        raise ConfigError(_reason(config, err)) from err
    return listening


def _reason(config: WebConfig, err: OSError | UnicodeError) -> str:
    code = err.errno if isinstance(err, OSError) else None
    if code == errno.EADDRINUSE:
        return (
            f"web.port: {config.port} on {config.host} is used by another program; end that program or set another "
            "port (web.port, MONITOR__WEB__PORT); 0 takes any free one"
        )
    if code == errno.EACCES:
        return f"web.port: {config.port} may not be listened on by this user; set web.port to 1024 or more"
    if code == errno.EADDRNOTAVAIL or isinstance(err, (socket.gaierror, UnicodeError)):
        return (
            f"web.host: {config.host!r} is no address of this machine; set web.host to 127.0.0.1, or to 0.0.0.0 "
            "for every network"
        )
    return f"web.host: cannot listen on {config.host} port {config.port}: {err}; set web.host and web.port anew"
