"""One HTTP POST to a receiver, with every way to fail translated."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import aiohttp

from monitor.errors import DeliveryError

_REFUSED = frozenset({400, 413, 415, 422})
"""The message itself is not acceptable: sending it again cannot help. Wrong addresses and keys (401, 403, 404) can be
put right, so those are tried again."""
_GONE = 410
_KNOWN = frozenset(HTTPStatus)


async def post(
    session: aiohttp.ClientSession,
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    timeout_s: float,
    attempt_at: datetime,
) -> None:
    """Post ``body``; a 2xx answer is success, a redirect is a failure.

    :raises DeliveryError: the receiver did not accept it; the text holds nothing of the URL.
    """
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    try:
        async with session.post(url, data=body, headers=headers, timeout=timeout, allow_redirects=False) as response:
            if 200 <= response.status < 300:
                return
    except TimeoutError as err:
        raise DeliveryError(f"no answer within {timeout_s:g} s") from err
    except aiohttp.ClientConnectionError as err:
        raise DeliveryError(f"cannot connect or connection lost ({type(err).__name__})") from err
    except (aiohttp.ClientError, ValueError) as err:
        raise DeliveryError(f"not a proper HTTP answer ({type(err).__name__})") from err
    raise _refusal(response.status, retry_after_s(response.headers.get("Retry-After"), attempt_at))


def retry_after_s(header: str | None, now: datetime) -> float | None:
    """Seconds that a Retry-After header asks for (RFC 9110: seconds or a date), or None if it says nothing useful."""
    if header is None:
        return None
    if header.strip().isdecimal():
        return float(header)
    try:
        return max(0.0, (parsedate_to_datetime(header) - now).total_seconds())
    except (ValueError, TypeError):
        return None


def _refusal(status: int, wait_s: float | None) -> DeliveryError:
    # The standard's words for the status, never the receiver's own: those often repeat the address, secrets and all.
    said = f" {HTTPStatus(status).phrase}" if status in _KNOWN else ""
    if status == _GONE:
        return DeliveryError("HTTP 410, the receiver is gone for good", disable=True)
    if 300 <= status < 400:
        return DeliveryError(f"HTTP {status}, a redirect; set the address it leads to")
    return DeliveryError(f"HTTP {status}{said}", retryable=status not in _REFUSED, retry_after_s=wait_s)
