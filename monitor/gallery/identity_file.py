"""Reads ``identity.yaml``: who a person is, on what ground they are enrolled, and who may show them."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError, model_validator
from pydantic_core import ErrorDetails

from monitor.errors import GalleryError
from monitor.gallery.identity import Consent, Identity, Permission
from monitor.streams.stream import BroadcastKind

IDENTITY_FILE = "identity.yaml"
MAX_IDENTITY_BYTES = 256 * 1024

# Aliases let a few lines of YAML stand for gigabytes; what is shown of a value stays short.
_short = reprlib.Repr()
_short.maxlevel = 2
_short.maxstring = 80

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_LANGUAGE_TAG = r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$"


def _day(value: object) -> object:
    # Left alone, pydantic takes a bare number for seconds since 1970.
    if isinstance(value, str) and not _DAY.fullmatch(value):
        raise ValueError("not a day written YYYY-MM-DD")
    return value


_Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]
_LanguageTag = Annotated[str, StringConstraints(pattern=_LANGUAGE_TAG)]
_Day = Annotated[date, BeforeValidator(_day)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _ConsentEntry(_Strict):
    basis: _Text
    date: _Day
    reference: _Text


class _PermissionEntry(_Strict):
    platform: _Text
    account: _Text
    kinds: frozenset[BroadcastKind] = Field(min_length=1)
    valid_from: _Day | None = None
    valid_until: _Day | None = None
    max_concurrent_rooms: int | None = Field(None, ge=1, le=10_000)
    suspended: bool = False

    @model_validator(mode="after")
    def _in_order(self) -> _PermissionEntry:
        if self.valid_from and self.valid_until and self.valid_until < self.valid_from:
            raise ValueError(f"valid_until {self.valid_until} is before valid_from {self.valid_from}")
        return self


class _IdentityFile(_Strict):
    name: dict[_LanguageTag, _Text] = Field(min_length=1)
    consent: _ConsentEntry
    permissions: tuple[_PermissionEntry, ...] = ()


class _Loader(yaml.SafeLoader):
    """YAML in which every plain scalar is a string and no key may stand twice.

    So an account named ``0123`` keeps its zero, a language tag ``no`` is not a boolean, and a date that does not
    exist is reported with its key. ``null``, ``~`` and nothing stay null.
    """

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own class attribute
        first: [(tag, pattern) for tag, pattern in resolvers if tag.endswith(":null")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[object] = set()
        for key_node, _ in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else id(key_node)
            if key in seen:
                raise yaml.MarkedYAMLError(problem=f"the key {key!r} stands twice", problem_mark=key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def parse_identity(data: bytes, *, identity_id: str, path: Path) -> Identity:
    """The identity that ``data``, the content of ``path``, describes.

    :raises GalleryError: names the file and, for each mistake, key, value and what is allowed.
    """
    if len(data) > MAX_IDENTITY_BYTES:
        raise GalleryError(f"{path}: has {len(data)} bytes, at most {MAX_IDENTITY_BYTES} are allowed")
    content = _load(data, path)
    if not isinstance(content, dict):
        raise GalleryError(f"{path}: has no keys; needed are name and consent, allowed is also permissions")
    try:
        entry = _IdentityFile.model_validate(content)
    except ValidationError as err:
        mistakes = "; ".join(_explain(mistake) for mistake in err.errors(include_url=False)[:10])
        raise GalleryError(f"{path}: {mistakes}") from None
    return _identity(identity_id, entry)


def _load(data: bytes, path: Path) -> object:
    try:
        return yaml.load(data.decode("utf-8-sig"), _Loader)
    except UnicodeDecodeError as err:
        raise GalleryError(f"{path}: is not UTF-8 text (byte {err.start})") from None
    except yaml.MarkedYAMLError as err:
        line = f"line {err.problem_mark.line + 1}: " if err.problem_mark else ""
        raise GalleryError(f"{path}: {line}{err.problem or 'is not YAML'}") from None
    except (yaml.YAMLError, ValueError, TypeError) as err:
        raise GalleryError(f"{path}: is not YAML: {err}") from None
    except RecursionError:
        raise GalleryError(f"{path}: is nested too deeply") from None


def _identity(identity_id: str, entry: _IdentityFile) -> Identity:
    return Identity(
        id=identity_id,
        names=MappingProxyType(dict(entry.name)),
        consent=Consent(basis=entry.consent.basis, date=entry.consent.date, reference=entry.consent.reference),
        permissions=tuple(
            Permission(
                platform=permission.platform,
                account=permission.account,
                kinds=permission.kinds,
                valid_from=permission.valid_from,
                valid_until=permission.valid_until,
                max_concurrent_rooms=permission.max_concurrent_rooms,
                suspended=permission.suspended,
            )
            for permission in entry.permissions
        ),
    )


_KINDS = ", ".join(BroadcastKind)
_ALLOWED: Mapping[str, str] = {
    "name": "a mapping of language tags to names, such as {en: Barack Obama}",
    "consent": "a mapping with basis, date and reference",
    "permissions": "a list of mappings, which may be empty: []",
    "kinds": f"a list of one or more of {_KINDS}",
    "date": "a day written YYYY-MM-DD",
    "valid_from": "a day written YYYY-MM-DD",
    "valid_until": "a day written YYYY-MM-DD, not before valid_from",
    "max_concurrent_rooms": "a whole number from 1 to 10000",
    "suspended": "true or false",
}


def _explain(mistake: ErrorDetails) -> str:
    """Key, value and what is allowed, of one of pydantic's findings."""
    # pydantic appends a marker to the path of a mapping whose key, not value, is wrong.
    about_key = mistake["loc"][-1:] == ("[key]",)
    path = mistake["loc"][:-1] if about_key else mistake["loc"]
    names = [str(part) for part in path if isinstance(part, str)]
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")[:200]
    match mistake["type"]:
        case "missing":
            return f"{key} is missing; allowed: {_allowed(names)}"
        case "extra_forbidden":
            return f"unknown key {key}; allowed: {', '.join(_siblings(names))}"
        case _ if about_key:
            return f"{key} is not a language tag; allowed: such as en or zh-Hans"
        case "value_error" if not names or names[-1] == "permissions":
            return f"{key}: {mistake['ctx']['error']}"
    return f"{key} is {_short.repr(mistake['input'])}; allowed: {_allowed(names)}"


def _allowed(names: list[str]) -> str:
    if names[0] == "name" and len(names) > 1:
        return "a text of 1 to 500 characters"
    if names == ["permissions"]:
        return _ALLOWED["permissions"]
    return _ALLOWED.get(names[-1], "a text of 1 to 500 characters")


def _siblings(names: list[str]) -> list[str]:
    if len(names) == 1:
        return list(_IdentityFile.model_fields)
    entry = _ConsentEntry if names[0] == "consent" else _PermissionEntry
    return list(entry.model_fields)
