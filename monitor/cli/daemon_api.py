"""Asks a running daemon's API."""

from __future__ import annotations

import http.client
import json
import os
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit

from monitor.errors import ConfigError, DaemonRefused
from monitor.redact import redact_url

_TIMEOUT_S = 15.0
_MOST_BYTES = 50_000_000


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """The token goes to the address that was named, and nowhere else."""

    def redirect_request(self, *_: object, **__: object) -> None:
        return None


class DaemonApi:
    """The API of the daemon at ``url``.

    :param token_env: the environment variable that holds ``web.token``; it is only read for changes.
    :raises ConfigError: ``url`` is no http or https address.
    """

    def __init__(self, url: str, token_env: str) -> None:
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
            raise ConfigError("--url: must be the daemon's address, such as http://127.0.0.1:8080")
        self._url = url.rstrip("/")
        self._token_env = token_env
        # Proxies of the environment are for the internet; the daemon is near.
        self._opener = urllib.request.build_opener(_NoRedirects, urllib.request.ProxyHandler({}))

    def get(self, path: str) -> Any:
        """The JSON at ``path``.

        :raises DaemonRefused: there is none.
        """
        return self._ask(urllib.request.Request(self._url + path))

    def change(self, method: str, path: str, body: object = None) -> Any:
        """Send ``body`` as JSON, with the token; the answer's JSON, None if it is empty.

        :raises ConfigError: the token's environment variable is not set.
        :raises DaemonRefused: the daemon refused; the message is its own.
        """
        token = os.environ.get(self._token_env)
        if not token or not token.isascii() or not token.isprintable():
            raise ConfigError(f"set the environment variable {self._token_env} to the daemon's web.token")
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        return self._ask(urllib.request.Request(self._url + path, data=data, headers=headers, method=method))

    def _ask(self, request: urllib.request.Request) -> Any:
        try:
            with self._opener.open(request, timeout=_TIMEOUT_S) as answer:
                body = answer.read(_MOST_BYTES)
        except urllib.error.HTTPError as err:
            with err:
                raise DaemonRefused(_message(err)) from err
        except (OSError, http.client.HTTPException) as err:
            reason = getattr(err, "reason", err)
            address = redact_url(self._url).removesuffix("/***")
            raise DaemonRefused(
                f"no daemon answers at {address} ({reason}); start it, or name its address with --url"
            ) from err
        try:
            return json.loads(body) if body else None
        except ValueError as err:
            raise DaemonRefused("what answers there is no monitor: it sent no JSON; look at --url") from err


def _message(err: urllib.error.HTTPError) -> str:
    try:
        return str(json.loads(err.read(100_000))["error"]["message"])
    except (ValueError, KeyError, TypeError, OSError):
        return f"what answers there said HTTP {err.code}; look at --url"
