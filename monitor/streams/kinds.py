"""Kinds of sources beside the built-in ones: the plug-in point, entry points of the group ``monitor.sources``.

An entry point's object is a :class:`SourceKind`; it is chosen by the scheme of a stream's URL.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from monitor.errors import ConfigError
from monitor.streams.guard import DEFAULT_PORTS

if TYPE_CHECKING:
    from monitor.streams.packet import Source
    from monitor.streams.reach import Reach

GROUP = "monitor.sources"
BUILT_IN_SCHEMES = (*DEFAULT_PORTS, "file", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceKind:
    """One more way to read streams."""

    schemes: tuple[str, ...]
    """URL schemes it reads, lower case: ``snapshot+https``."""
    address: Callable[[str], str]
    """Stream URL -> the http, https, rtmp or rtmps address that will be opened: what the address guard checks before
    a stream is accepted. The source itself must open it through ``Reach.http`` or ``Reach.guard``."""
    source: Callable[[str, Reach], Source]
    """Stream URL -> the source. Opens nothing yet."""


def load_kinds(found: Iterable[EntryPoint]) -> Mapping[str, SourceKind]:
    """Scheme to kind.

    :raises ConfigError: a plug-in cannot be imported, is no SourceKind, or claims a scheme that is taken.
    """
    kinds: dict[str, SourceKind] = {}
    for point in found:
        label = f"plug-in {point.name!r} ({point.value})"
        try:
            kind = point.load()
        # Foreign code: whatever it raises while it is imported is named and stops the start.
        except Exception as err:
            raise ConfigError(f"{label}: cannot be loaded ({type(err).__name__}: {err}); remove or repair it") from err
        if not isinstance(kind, SourceKind):
            raise ConfigError(f"{label}: is {type(kind).__name__}; allowed: a monitor.streams.kinds.SourceKind")
        for scheme in kind.schemes:
            if scheme in kinds or scheme in BUILT_IN_SCHEMES:
                raise ConfigError(f"{label}: the scheme {scheme!r} is taken already; remove one of the two plug-ins")
            kinds[scheme] = kind
    return kinds


@cache
def installed_kinds() -> Mapping[str, SourceKind]:
    """The kinds of the packages that are installed; read once. Touches the disk the first time.

    :raises ConfigError: as ``load_kinds``.
    """
    return load_kinds(entry_points(group=GROUP))


def network_address(url: str, kinds: Mapping[str, SourceKind] | None = None) -> str:
    """The address behind ``url`` that the address guard is to check: itself, unless a plug-in reads it."""
    kind = (installed_kinds() if kinds is None else kinds).get(urlsplit(url).scheme)
    return kind.address(url) if kind else url
