"""Reads a YAML settings file into plain values, and remembers on which line each key stands."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from monitor.errors import ConfigError

MAX_BYTES = 1_000_000
KeyPath = tuple[str | int, ...]
"""``("alerts", "receivers", 0, "url")``."""

_REFERENCE = re.compile(r"\$(\$\{|\{(?P<name>[^}]*)\})")
_PLAIN_TAGS = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def show_path(path: KeyPath) -> str:
    """``alerts.receivers[0].url``."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".") or "(the whole file)"


@dataclass(slots=True, kw_only=True)
class SettingsFile:
    """The values of one file, where each stands, and what was wrong with them so far."""

    path: Path
    values: dict[str, Any] = field(default_factory=dict, repr=False)
    lines: dict[KeyPath, int] = field(default_factory=dict)
    """Key path to its line, counted from 1."""
    written: dict[KeyPath, str] = field(default_factory=dict)
    """Values that held ``${NAME}``, as they stand in the file: safe to show, whatever the variable holds."""
    problems: list[str] = field(default_factory=list)
    spoilt: set[KeyPath] = field(default_factory=set)
    """Paths whose value a problem is about already: no use in complaining of it again."""

    def refuse(self, path: KeyPath, why: str) -> None:
        """Note a problem with the value at ``path``."""
        self.problems.append(f"{self.label(path)}: {why}")
        self.spoilt.add(path)

    def label(self, path: KeyPath) -> str:
        """``config/monitor.yaml:12: web.port``; the line of the nearest enclosing key that is in the file."""
        for end in range(len(path), 0, -1):
            if path[:end] in self.lines:
                return f"{self.path}:{self.lines[path[:end]]}: {show_path(path)}"
        return f"{self.path}: {show_path(path)}"


def read_settings(path: Path, environ: Mapping[str, str]) -> SettingsFile:
    """The file's values with every ``${NAME}`` replaced; ``$${`` stands for a literal ``${``.

    What is replaced stays text: a variable cannot add keys. Repeated keys and missing variables are
    collected in ``problems``.

    :raises ConfigError: the file cannot be read, or is no YAML mapping.
    """
    settings = SettingsFile(path=path)
    node = _compose(path)
    if node is None:
        return settings
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError(f"{path}: must be a mapping of settings (key: value)")
    settings.values = _Reader(settings, environ).mapping(node, ())
    return settings


def _compose(path: Path) -> yaml.Node | None:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise ConfigError(f"{path}: is larger than {MAX_BYTES} bytes; this is no settings file")
        return yaml.compose(data.decode(), Loader=yaml.SafeLoader)
    except FileNotFoundError as err:
        raise ConfigError(f"{path}: there is no such file; make it, or name another one") from err
    except OSError as err:
        raise ConfigError(f"{path}: cannot be read: {err.strerror}") from err
    except UnicodeDecodeError as err:
        raise ConfigError(f"{path}: is not UTF-8 text (byte {err.start})") from err
    except yaml.MarkedYAMLError as err:
        mark = err.problem_mark or err.context_mark
        place = f"{mark.line + 1}:{mark.column + 1}: " if mark else " "
        raise ConfigError(f"{path}:{place}not valid YAML: {err.problem or err.context}") from err
    except yaml.YAMLError as err:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(err).split())}") from err
    except RecursionError as err:
        raise ConfigError(f"{path}: not valid YAML: nested too deeply") from err


class _Reader:
    """Turns composed nodes into values."""

    def __init__(self, settings: SettingsFile, environ: Mapping[str, str]) -> None:
        self._settings = settings
        self._environ = environ
        self._seen: set[int] = set()
        self._scalars = yaml.SafeLoader("")

    def value(self, node: yaml.Node, path: KeyPath) -> Any:
        self._settings.lines.setdefault(path, node.start_mark.line + 1)
        if id(node) in self._seen:
            self._settings.refuse(path, "aliases (*name) are not supported; write the value out")
            return None
        self._seen.add(id(node))
        if not isinstance(node, yaml.ScalarNode) and node.tag not in _PLAIN_TAGS:
            self._settings.refuse(path, f"the tag {node.tag} is not supported; remove it")
            return None
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
        try:
            value = self._scalars.construct_object(node)
        except (yaml.YAMLError, ValueError) as err:
            self._settings.refuse(path, f"{node.value!r} cannot be read as a value: {err}")
            return None
        return self._substitute(value, path) if isinstance(value, str) else value

    def mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        values: dict[str, Any] = {}
        lines = self._settings.lines
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                self._settings.problems.append(f"{self._settings.path}:{line}: a key must be a plain word")
                continue
            inner = (*path, str(key_node.value))
            if inner[-1] in values:
                self._settings.problems.append(
                    f"{self._settings.path}:{line}: {show_path(inner)} stands twice "
                    f"(first on line {lines[inner]}); keep one"
                )
                continue
            lines[inner] = line
            values[str(key_node.value)] = self.value(value_node, inner)
        return values

    def _substitute(self, text: str, path: KeyPath) -> str:
        for name in (match["name"] for match in _REFERENCE.finditer(text)):
            if name is None or (_NAME.fullmatch(name) and name in self._environ):
                continue
            why = "is not set: set it" if _NAME.fullmatch(name) else "is no name: use letters, digits and _"
            self._settings.refuse(path, f"the environment variable {name!r} {why}; $${{ stands for a literal ${{")
        replaced = _REFERENCE.sub(lambda found: self._environ.get(found["name"], "") if found["name"] else "${", text)
        if replaced != text:
            self._settings.written[path] = text
        return replaced
