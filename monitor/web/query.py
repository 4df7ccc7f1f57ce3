"""Reads the parameters of an incident list; what is not understood is refused by name."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from multidict import MultiMapping

from monitor.incidents.incident import Decision, IncidentState
from monitor.sightings.presence import Presence
from monitor.streams.roster import Origin
from monitor.streams.stream import StreamState

MAX_LIMIT = 200
MAX_STREAMS = 1000
MAX_TEXT = 200
_ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")
_PRESENCES = frozenset(presence.value for presence in Presence)
_FILTERS = ("identity", "platform", "account", "room")
_Word = TypeVar("_Word", bound=StrEnum)


class BadParameter(ValueError):
    """A query parameter is wrong; the message names it, its value and what is allowed."""

    def __init__(self, name: str, value: str, allowed: str) -> None:
        super().__init__(f"parameter {name}: {value[:60]!r} is not allowed; allowed: {allowed}")


def is_evidence_folder(text: str) -> bool:
    """Whether ``text`` is what a folder of evidence is named: an incident's id, or that and a presence."""
    incident_id, dash, presence = text.partition("-")
    return is_incident_id(incident_id) and (not dash or presence in _PRESENCES)


def is_incident_id(text: str) -> bool:
    """Whether ``text`` is a ULID in its canonical form; nothing else may reach a path."""
    return _ULID.fullmatch(text) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentQuery:
    """Which incidents are asked for. None filters nothing."""

    limit: int
    before: str | None = None
    state: IncidentState | None = None
    decisions: frozenset[Decision] | None = None
    identity: str | None = None
    platform: str | None = None
    account: str | None = None
    room: str | None = None


class Show(StrEnum):
    """What the page lists."""

    VIOLATIONS = "violations"
    PERMITTED = "permitted"
    ALL = "all"

    @property
    def decisions(self) -> frozenset[Decision] | None:
        if self is Show.VIOLATIONS:
            return frozenset(decision for decision in Decision if decision.is_violation)
        return frozenset({Decision.PERMITTED}) if self is Show.PERMITTED else None


def read_query(query: MultiMapping[str], *, default_limit: int = 50) -> IncidentQuery:
    """The API's parameters: limit, before, state, decision (may be repeated), identity, platform, account, room.

    :raises BadParameter: for the first one that is unknown, repeated or out of bounds.
    """
    _only(query, ("limit", "before", "state", "decision", *_FILTERS), repeatable=("decision",))
    decisions = frozenset(_word("decision", text, Decision) for text in query.getall("decision", []))
    text = {name: _text(name, query[name]) for name in _FILTERS if name in query}
    return IncidentQuery(
        limit=_limit(query.get("limit"), default_limit),
        before=_before(query),
        state=_word("state", query["state"], IncidentState) if "state" in query else None,
        decisions=decisions or None,
        **text,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamQuery:
    """Which streams are asked for. None filters nothing."""

    limit: int
    after: str = ""
    """Only ids behind this one, in the order of the alphabet."""
    state: StreamState | None = None
    origin: Origin | None = None


def read_stream_query(query: MultiMapping[str], *, default_limit: int = 500) -> StreamQuery:
    """The parameters of a list of streams: limit, after, state, origin.

    :raises BadParameter: for the first one that is unknown, repeated or out of bounds.
    """
    _only(query, ("limit", "after", "state", "origin"))
    return StreamQuery(
        limit=_limit(query.get("limit"), default_limit, MAX_STREAMS),
        after=_text("after", query["after"]) if "after" in query else "",
        state=_word("state", query["state"], StreamState) if "state" in query else None,
        origin=_word("origin", query["origin"], Origin) if "origin" in query else None,
    )


def read_page_query(query: MultiMapping[str], *, limit: int) -> tuple[Show, IncidentQuery]:
    """The page's parameters: show and before.

    :raises BadParameter: for the first one that is unknown, repeated or not allowed.
    """
    _only(query, ("show", "before"))
    show = _word("show", query["show"], Show) if "show" in query else Show.VIOLATIONS
    return show, IncidentQuery(limit=limit, before=_before(query), decisions=show.decisions)


def _only(query: MultiMapping[str], names: Collection[str], repeatable: Collection[str] = ()) -> None:
    for name in query:
        if name not in names:
            raise BadParameter(name[:60], query[name], f"no parameter of this name; there are {', '.join(names)}")
        if name not in repeatable and len(query.getall(name)) > 1:
            raise BadParameter(name, ", ".join(query.getall(name)), "one value")


def _limit(text: str | None, default: int, most: int = MAX_LIMIT) -> int:
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 6 or not 1 <= int(text) <= most:
        raise BadParameter("limit", text, f"a whole number from 1 to {most}")
    return int(text)


def _before(query: MultiMapping[str]) -> str | None:
    if "before" not in query:
        return None
    if not is_incident_id(query["before"]):
        raise BadParameter("before", query["before"], "an incident's id, as the list gives it")
    return query["before"]


def _word(name: str, text: str, words: type[_Word]) -> _Word:
    try:
        return words(text)
    except ValueError:
        raise BadParameter(name, text, ", ".join(words)) from None


def _text(name: str, text: str) -> str:
    if not 1 <= len(text) <= MAX_TEXT:
        raise BadParameter(name, text, f"1 to {MAX_TEXT} characters")
    return text
