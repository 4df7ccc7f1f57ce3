"""Listens for browsers, probes and Prometheus."""

from __future__ import annotations

import errno
import logging
import socket
from types import TracebackType
from typing import Self

from aiohttp import web

from monitor.errors import ConfigError
from monitor.web.config import WebConfig

log = logging.getLogger(__name__)

SHUTDOWN_S = 2.0


class WebServer:
    """Serves one application: ``await stack.enter_async_context(WebServer(build_app(site), config))``."""

    def __init__(self, app: web.Application, config: WebConfig) -> None:
        self._config = config
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_S)
        self._port = config.port

    @property
    def port(self) -> int:
        """The port that is listened on: the real one, once started, where the settings say 0."""
        return self._port

    @property
    def url(self) -> str:
        """``web.base_url``, or where this server listens; without a slash at the end."""
        host = f"[{self._config.host}]" if ":" in self._config.host else self._config.host
        return self._config.base_url or f"http://{host}:{self._port}"

    async def start(self) -> None:
        """Begin to listen.

        :raises ConfigError: the port is in use, or the address is not this machine's.
        """
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._config.host, self._config.port).start()
        except (OSError, UnicodeError) as err:
            await self._runner.cleanup()
            raise listen_error(self._config, err) from err
        self._port = int(self._runner.addresses[0][1])
        log.info("web_listening host=%s port=%d", self._config.host, self._port)

    async def aclose(self) -> None:
        """Stop listening; requests under way have ``SHUTDOWN_S`` to end."""
        await self._runner.cleanup()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


def listen_error(config: WebConfig, err: OSError | UnicodeError) -> ConfigError:
    """Words for why nobody can listen there, with what to do."""
    code = err.errno if isinstance(err, OSError) else None
    if code == errno.EADDRINUSE:
        return ConfigError(
            f"web.port: {config.port} on {config.host} is used by another program; end that program or set another "
            "port (web.port, MONITOR__WEB__PORT); 0 takes any free one"
        )
    if code == errno.EACCES:
        return ConfigError(f"web.port: {config.port} may not be listened on by this user; set web.port to 1024 or more")
    if code == errno.EADDRNOTAVAIL or isinstance(err, (socket.gaierror, UnicodeError)):
        return ConfigError(
            f"web.host: {config.host!r} is no address of this machine; set web.host to 127.0.0.1, or to 0.0.0.0 "
            "for every network"
        )
    return ConfigError(f"web.host: cannot listen on {config.host} port {config.port}: {err}")
