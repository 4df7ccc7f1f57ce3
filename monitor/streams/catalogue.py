"""What may stand in a room's definition, and the list of rooms to watch: ``streams.yaml``."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator

from monitor.errors import ConfigError
from monitor.settings_file import read_settings
from monitor.streams.guard import DEFAULT_PORTS
from monitor.streams.kinds import BUILT_IN_SCHEMES, installed_kinds
from monitor.streams.sampling import SamplingPolicy
from monitor.streams.stream import BroadcastKind, Stream

_CONTROL = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")
_WHITE = re.compile(r"\s")


def _one_line(value: str) -> str:
    if _CONTROL.search(value):
        raise ValueError("must hold no control character or line break")
    return value


_Line = Annotated[str, AfterValidator(_one_line)]
_Word = Annotated[_Line, Field(min_length=1, max_length=256)]


class StreamEntry(BaseModel):
    """One room as it stands in the file, or as the API takes it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", description="Unique: letters, digits, dot, underscore, dash."
    )
    url: _Line = Field(
        min_length=1, max_length=4096, description="RTMP, HLS (.m3u8) or HTTP-FLV address, or a video file's path."
    )
    platform: _Line = Field(min_length=1, max_length=64, description="The platform, as permissions name it.")
    account: _Line = Field(
        min_length=1, max_length=256, description="The broadcasting account, as permissions name it."
    )
    room: _Line = Field(min_length=1, max_length=256, description="The room's name or number on the platform.")
    title: _Line = Field("", max_length=1000, description="The room's title.")
    products: tuple[_Word, ...] = Field((), max_length=100, description="What is sold there.")
    tags: tuple[_Word, ...] = Field((), max_length=100, description="Words of your own, to find streams by.")
    kind: BroadcastKind = Field(BroadcastKind.LIVE, description="live, digital_human or rebroadcast.")
    sampling: SamplingPolicy | None = Field(
        None, description="interval, adaptive or every_keyframe; without it, as streams.sampling says."
    )

    @field_validator("url")
    @classmethod
    def _known_scheme(cls, value: str) -> str:
        kinds = installed_kinds()
        try:
            parts = urlsplit(value)
            local = parts.scheme in ("", "file")
            # Reading the port checks it.
            known = parts.scheme in (*BUILT_IN_SCHEMES, *kinds) and parts.port != 0
            known = known and (local or (bool(parts.hostname) and not _WHITE.search(value)))
        except ValueError:
            known = False
        if not known:
            raise ValueError(f"allowed: an address with {', '.join([*DEFAULT_PORTS, *kinds])} or file, or a path")
        return value

    def stream(self) -> Stream:
        """The noun."""
        return Stream(**{name: getattr(self, name) for name in type(self).model_fields})


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryProblem:
    """One mistake in a room's definition."""

    field: str
    """``url``, ``products.0``; empty if the whole is meant."""
    value: str | None
    """What stands there, redacted and cut short; None if nothing does."""
    allowed: str
    """What is wrong, and what is allowed."""

    def under(self, key: str) -> str:
        """One line: ``streams[0].kind: 'robot': ...``."""
        where = f"{key}.{self.field}" if self.field else key
        return f"{where}: {self.allowed}" if self.value is None else f"{where}: {self.value}: {self.allowed}"


class EntryRefused(ConfigError):
    """A room's definition has mistakes."""

    def __init__(self, problems: Sequence[EntryProblem]) -> None:
        super().__init__("; ".join(problem.under("stream") for problem in problems))
        self.problems = tuple(problems)


def read_entry(raw: object) -> Stream:
    """The stream that ``raw``, plain values as YAML or JSON has them, defines.

    :raises EntryRefused: naming each field, its value (that of ``url`` redacted) and what is allowed.
    """
    try:
        return StreamEntry.model_validate(raw).stream()
    except ValidationError as err:
        raise EntryRefused([_problem(item) for item in err.errors()]) from err


def entry_values(stream: Stream) -> dict[str, Any]:
    """What ``read_entry`` makes ``stream`` of; plain values, the URL with its secrets among them."""
    return StreamEntry(**{name: getattr(stream, name) for name in StreamEntry.model_fields}).model_dump(mode="json")


def load_streams(path: Path, environ: Mapping[str, str] | None = None) -> tuple[Stream, ...]:
    """The rooms that the file at ``path`` lists, ``${NAME}`` replaced from ``environ`` (default: the process's).

    :raises ConfigError: naming the file, the line, the key, the value and what is allowed, for all mistakes at once.
        Values of ``url`` are redacted.
    """
    settings = read_settings(path, os.environ if environ is None else environ)
    if unknown := settings.values.keys() - {"streams"}:
        raise ConfigError(f"{path}: unknown key {sorted(map(str, unknown))[0]!r}; allowed: streams")
    entries = settings.values.get("streams")
    if not isinstance(entries, list):
        raise ConfigError(f"{path}: must hold `streams:` and a list; `streams: []` for none")
    streams: list[Stream] = []
    for index, raw in enumerate(entries):
        if any(place[:2] == ("streams", index) for place in settings.spoilt):
            continue
        try:
            stream = read_entry(raw)
        except EntryRefused as err:
            label = settings.label(("streams", index))
            settings.problems += [problem.under(label) for problem in err.problems]
            continue
        if clash := _clash(stream, streams):
            settings.refuse(("streams", index, "id"), clash)
        streams.append(stream)
    if settings.problems:
        raise ConfigError("\n".join(settings.problems))
    return tuple(streams)


def _clash(stream: Stream, others: Sequence[Stream]) -> str | None:
    """Why ``stream`` cannot be watched beside ``others``."""
    for other in others:
        if other.id == stream.id:
            return f"{stream.id!r} is used twice; each stream needs an id of its own"
        if (other.platform, other.account, other.room) == (stream.platform, stream.account, stream.room):
            return f"{stream.id!r} is the same platform, account and room as {other.id!r}; list a room once"
    return None


def _problem(error: Mapping[str, Any]) -> EntryProblem:
    """Pydantic's error, with its ``loc``, ``msg``, ``type`` and ``input``, in our words."""
    loc = error["loc"]
    name = ".".join(map(str, loc))[:80]
    if error["type"] == "missing":
        return EntryProblem(field=name, value=None, allowed="is missing")
    if error["type"] == "extra_forbidden":
        return EntryProblem(
            field=name, value=None, allowed=f"unknown key; allowed: {', '.join(StreamEntry.model_fields)}"
        )
    # Without a place, the whole definition is shown, and with it the URL.
    shown = "***" if not loc or loc[0] == "url" else repr(error["input"])[:80]
    field = StreamEntry.model_fields.get(str(loc[0])) if loc else None
    allowed = f" ({field.description})" if field and field.description else ""
    return EntryProblem(field=name, value=shown, allowed=f"{str(error['msg']).removeprefix('Value error, ')}{allowed}")
