"""The list of rooms to watch: ``streams.yaml``."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from monitor.errors import ConfigError
from monitor.streams.guard import DEFAULT_PORTS
from monitor.streams.stream import BroadcastKind, Stream

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_SCHEMES = (*DEFAULT_PORTS, "file", "")


class StreamEntry(BaseModel):
    """One room as it stands in the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", description="Unique: letters, digits, dot, underscore, dash."
    )
    url: str = Field(min_length=1, description="RTMP, HLS (.m3u8) or HTTP-FLV address, or a video file's path.")
    platform: str = Field(min_length=1, max_length=64, description="The platform, as permissions name it.")
    account: str = Field(min_length=1, max_length=256, description="The broadcasting account, as permissions name it.")
    room: str = Field(min_length=1, max_length=256, description="The room's name or number on the platform.")
    title: str = Field("", max_length=1000, description="The room's title.")
    products: tuple[str, ...] = Field((), description="What is sold there.")
    tags: tuple[str, ...] = Field((), description="Words of your own, to find streams by.")
    kind: BroadcastKind = Field(BroadcastKind.LIVE, description="live, digital_human or rebroadcast.")

    @field_validator("url")
    @classmethod
    def _known_scheme(cls, value: str) -> str:
        try:
            parts = urlsplit(value)
            local = parts.scheme in ("", "file")
            # Reading the port checks it.
            known = parts.scheme in _SCHEMES and parts.port != 0 and (local or bool(parts.hostname))
        except ValueError:
            known = False
        if not known:
            raise ValueError(f"allowed: an address with {', '.join(DEFAULT_PORTS)} or file, or a path")
        return value

    def stream(self) -> Stream:
        """The noun."""
        return Stream(**{name: getattr(self, name) for name in type(self).model_fields})


def load_streams(path: Path, environ: Mapping[str, str] | None = None) -> tuple[Stream, ...]:
    """The rooms that the file at ``path`` lists, ``${NAME}`` replaced from ``environ`` (default: the process's).

    :raises ConfigError: naming the file, the key, the value and what is allowed, for all mistakes at once. Values
        of ``url`` are redacted.
    """
    entries = _entries(path)
    known = os.environ if environ is None else environ
    streams: list[Stream] = []
    problems: list[str] = []
    for index, raw in enumerate(entries):
        key = f"streams[{index}]"
        try:
            stream = StreamEntry.model_validate(_substitute(raw, known, key)).stream()
        except ValidationError as err:
            problems += [_explain(key, item) for item in err.errors()]
            continue
        except KeyError as err:
            problems.append(str(err.args[0]))
            continue
        if any(other.id == stream.id for other in streams):
            problems.append(f"{key}.id: {stream.id!r} is used twice; each stream needs an id of its own")
        streams.append(stream)
    if problems:
        raise ConfigError("\n".join(f"{path}: {problem}" for problem in problems))
    return tuple(streams)


def _entries(path: Path) -> list[Any]:
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as err:
        raise ConfigError(f"{path}: cannot be read ({err.strerror}); create it, with `streams: []` for none") from err
    except UnicodeDecodeError as err:
        raise ConfigError(f"{path}: is not UTF-8 text") from err
    except yaml.YAMLError as err:
        # The parser's whole message quotes the line, and with it perhaps a key.
        mark = getattr(err, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        raise ConfigError(f"{path}: {where}is not YAML: {getattr(err, 'problem', None) or 'unreadable'}") from err
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: must hold `streams:` and a list; `streams: []` for none")
    if unknown := set(document) - {"streams"}:
        raise ConfigError(f"{path}: unknown key {sorted(map(str, unknown))[0]!r}; allowed: streams")
    entries = document.get("streams")
    if not isinstance(entries, list):
        raise ConfigError(f"{path}: streams: must be a list; `streams: []` for none")
    return entries


def _substitute(value: Any, environ: Mapping[str, str], key: str) -> Any:
    """``value`` with each ``${NAME}`` in its strings replaced; raises KeyError with a message for an unknown one."""
    if isinstance(value, dict):
        return {name: _substitute(item, environ, f"{key}.{name}") for name, item in value.items()}
    if isinstance(value, list):
        return [_substitute(item, environ, f"{key}[{index}]") for index, item in enumerate(value)]
    if not isinstance(value, str):
        return value

    def replacement(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in environ:
            raise KeyError(f"{key}: ${{{name}}} is not in the environment; set it before the start")
        return environ[name]

    return _VARIABLE.sub(replacement, value)


def _explain(key: str, error: Mapping[str, Any]) -> str:
    """One line for one mistake. Pydantic's error has ``loc``, ``msg``, ``type`` and ``input``."""
    loc = error["loc"]
    where = ".".join([key, *map(str, loc)])
    if error["type"] == "missing":
        return f"{where}: is missing"
    if error["type"] == "extra_forbidden":
        return f"{where}: unknown key; allowed: {', '.join(StreamEntry.model_fields)}"
    shown = "***" if loc and loc[0] == "url" else repr(error["input"])[:80]
    field = StreamEntry.model_fields.get(str(loc[0])) if loc else None
    allowed = f" ({field.description})" if field and field.description else ""
    return f"{where}: {shown}: {str(error['msg']).removeprefix('Value error, ')}{allowed}"
