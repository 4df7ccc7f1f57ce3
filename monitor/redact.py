"""Keeps stream URLs' credentials and secrets out of logs, errors, metrics and pages."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_URL = re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s'\"<>]+", re.IGNORECASE)


def redact_url(url: str) -> str:
    """Scheme, host and port of ``url``; path, query and credentials become ``***``.

    Streaming URLs carry the key in the path as often as in the query, so neither is shown.
    """
    parts = urlsplit(url)
    if parts.scheme in ("", "file"):
        return "file:***"
    try:
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        port = ""
    return f"{parts.scheme}://{parts.hostname or ''}{port}/***"


def redact_text(text: str) -> str:
    """``text`` with every URL in it redacted; for messages that foreign code wrote."""
    return _URL.sub(lambda match: redact_url(match.group()), text)
