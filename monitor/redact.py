"""Keeps stream URLs' credentials and secrets out of logs, errors, metrics and pages."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

# Up to white space, past quotes and brackets: a URL may hold them, and what follows one may be its secret.
# The scheme's length is bounded so that a long text without a URL takes linear time.
_URL = re.compile(r"[a-z][a-z0-9+.-]{0,31}://\S+", re.IGNORECASE)
_HOST = re.compile(r"[\w.:-]*")
_NOTHING_SHOWN = "***"


def redact_url(url: str) -> str:
    """Scheme, host and port of ``url``; path, query and credentials become ``***``.

    Streaming URLs carry the key in the path as often as in the query, so neither is shown. Of what is no proper URL,
    nothing is shown.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return _NOTHING_SHOWN
    if parts.scheme in ("", "file"):
        return "file:***"
    try:
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        port = ""
    return f"{parts.scheme}://{_host(parts.hostname)}{port}/***"


def redact_text(text: str) -> str:
    """``text`` with every URL in it redacted, up to the next white space; for messages that foreign code wrote."""
    return _URL.sub(lambda match: redact_url(match.group()), text)


def _host(name: str | None) -> str:
    # A quote or bracket in the host ended the URL; what stands behind it is not part of a name.
    shown = _HOST.match(name or "")
    host = shown.group() if shown else ""
    return f"[{host}]" if ":" in host else host
