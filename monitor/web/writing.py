"""What every request that changes something goes through: who sends it, and how its body is read."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NoReturn

from aiohttp import web

from monitor.web.config import WebConfig

_BODY_TIMEOUT_S = 10.0
_CHUNK = 1 << 16


class ApiRefused(Exception):
    """A request is refused; the message says what to do."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] = MappingProxyType({})) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers


def require_token(config: WebConfig, request: web.Request) -> None:
    """Return if the request may change something.

    :raises ApiRefused: 403 while no token is configured, 401 without the right one.
    """
    if config.token is None:
        raise ApiRefused(403, "nothing can be changed over the API until web.token is set (MONITOR__WEB__TOKEN)")
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    expected = config.token.get_secret_value()
    # Of a digest each, so that the time tells nothing of the length either.
    digests = (hashlib.sha256(text.encode(errors="surrogateescape")).digest() for text in (given.strip(), expected))
    if not hmac.compare_digest(*digests) or scheme.lower() != "bearer":
        raise ApiRefused(
            401,
            "there is no token, or another than web.token: send the header Authorization: Bearer and the value of it",
            {"WWW-Authenticate": "Bearer"},
        )


async def read_body(request: web.Request, *, most: int) -> bytes:
    """The whole body, of at most ``most`` bytes.

    :raises ApiRefused: 413 if it is larger, 415 if it is compressed, 408 if it does not come.
    """
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise ApiRefused(415, "the body must not be compressed")
    body = bytearray()
    try:
        async with asyncio.timeout(_BODY_TIMEOUT_S):
            async for chunk in request.content.iter_chunked(_CHUNK):
                body += chunk
                if len(body) > most:
                    raise ApiRefused(413, f"the body is larger than {most} bytes")
    except TimeoutError as err:
        raise ApiRefused(408, f"the body was not there after {_BODY_TIMEOUT_S:g} s") from err
    return bytes(body)


async def read_json(request: web.Request, *, most: int) -> bytes:
    """The body of a request that says it is JSON. A page on another site cannot send that unasked.

    :raises ApiRefused: as ``read_body``, and 415 for another content type.
    """
    if request.content_type != "application/json":
        raise ApiRefused(415, "the body must be JSON, with the header Content-Type: application/json")
    return await read_body(request, most=most)


def parse_object(body: bytes) -> dict[str, Any]:
    """The JSON object in ``body``.

    :raises ApiRefused: 400: it is none.
    """
    try:
        found = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as err:
        where = f" (line {err.lineno}, column {err.colno})" if isinstance(err, json.JSONDecodeError) else ""
        raise ApiRefused(400, f"the body is not valid JSON{where}") from err
    if not isinstance(found, dict):
        raise ApiRefused(400, "the body must be a JSON object")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)
