"""Renders the pages' templates; everything that is put into one is escaped."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from monitor.clock import iso_utc
from monitor.redact import redact_text
from monitor.web.wording import (
    DECISION_SENTENCE,
    DECISION_TITLE,
    PRESENCE_SENTENCE,
    PRESENCE_TITLE,
    duration_text,
    utc_text,
)

_FOLDER = Path(__file__).parent / "templates"
STATIC_FOLDER = Path(__file__).parent / "static"

_environment = Environment(
    loader=FileSystemLoader(_FOLDER),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,
)
_environment.filters.update(utc=utc_text, iso=iso_utc, duration=duration_text, redact=redact_text)
_environment.globals.update(decision_title=DECISION_TITLE, decision_sentence=DECISION_SENTENCE)
_environment.globals.update(presence_title=PRESENCE_TITLE, presence_sentence=PRESENCE_SENTENCE)


def load_templates() -> None:
    """Read and compile every template, so that no request has to."""
    for name in _environment.list_templates():
        _environment.get_template(name)


def render(name: str, **values: object) -> str:
    """The template's HTML with ``values`` escaped into it."""
    return _environment.get_template(name).render(**values)
