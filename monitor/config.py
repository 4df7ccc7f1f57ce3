"""All settings as one object: the code's defaults -> the YAML file -> the environment -> validation."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic_core import ErrorDetails

from monitor.alerts.config import AlertsConfig
from monitor.errors import ConfigError
from monitor.evidence.config import EvidenceConfig
from monitor.faces.config import FacesConfig
from monitor.gallery.config import GalleryConfig
from monitor.incidents.config import IncidentsConfig
from monitor.redact import redact_text
from monitor.settings_file import KeyPath, SettingsFile, read_settings, show_path
from monitor.sightings.config import SightingsConfig
from monitor.storage.config import StorageConfig
from monitor.streams.config import NetworkConfig, StreamsConfig
from monitor.streams.hook_config import HookConfig
from monitor.web.config import WebConfig

ENV_PREFIX = "MONITOR__"
_SECRET = re.compile(r"secret|token|password|passwd|credential|api_?key|authori[sz]ation|(^|_)(key|url|dsn)s?$", re.I)
_NULLS = ("null", "~")
_IN_DATA_DIR: Mapping[tuple[str, str], str] = {
    ("storage", "url"): "sqlite:///{}/monitor.db",
    ("evidence", "folder"): "{}/evidence",
    ("faces", "cache_dir"): "{}/cache",
    ("gallery", "calibration_file"): "{}/calibration.json",
    ("gallery", "traffic_file"): "{}/stranger_traffic.json",
}


class MonitorConfig(BaseModel):
    """Every setting of the daemon. Relative paths are taken from the working directory."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data_dir: Path = Field(
        Path("data"),
        description="Folder of what the daemon writes: the database, the evidence, the prepared networks and "
        "the calibration, unless storage.url, evidence.folder, faces.cache_dir, gallery.calibration_file or "
        "gallery.traffic_file says otherwise.",
    )
    streams_file: Path = Field(Path("config/streams.yaml"), description="The rooms to watch.")
    streams: StreamsConfig = Field(default_factory=StreamsConfig, description="How rooms are read.")
    network: NetworkConfig = Field(default_factory=NetworkConfig, description="Which addresses may be read.")
    faces: FacesConfig = Field(default_factory=FacesConfig, description="How faces are found and compared.")
    gallery: GalleryConfig = Field(default_factory=GalleryConfig, description="Who is protected.")
    sightings: SightingsConfig = Field(default_factory=SightingsConfig, description="What proves a likeness.")
    incidents: IncidentsConfig = Field(default_factory=IncidentsConfig, description="When an incident ends.")
    evidence: EvidenceConfig = Field(default_factory=EvidenceConfig, description="Where the proof is kept.")
    alerts: AlertsConfig = Field(default_factory=AlertsConfig, description="Who is told.")
    storage: StorageConfig = Field(default_factory=StorageConfig, description="Where incidents are kept.")
    web: WebConfig = Field(default_factory=WebConfig, description="Where the pages are served.")
    hooks: tuple[HookConfig, ...] = Field(
        (),
        max_length=100,
        description="Streaming servers that say which rooms go on and off the air, each with a type (srs, nginx-rtmp, "
        "mediamtx, tencent, alibaba), a unique name and a secret.",
    )

    @field_validator("hooks")
    @classmethod
    def _have_names_of_their_own(cls, hooks: tuple[HookConfig, ...]) -> tuple[HookConfig, ...]:
        if len({hook.name for hook in hooks}) < len(hooks):
            raise ValueError("names must be unique")
        secrets = {(hook.type, hook.secret.get_secret_value()) for hook in hooks}
        if len(secrets) < len(hooks):
            raise ValueError("two hooks of one type need different secrets, which tell them apart")
        return hooks


def load_config(path: Path | None, environ: Mapping[str, str]) -> MonitorConfig:
    """The settings of a file and the environment; None reads no file.

    A key of a package is overridden by ``MONITOR__<SECTION>__<KEY>``: ``MONITOR__WEB__PORT=9000``. Lists and
    mappings are written as YAML: ``MONITOR__NETWORK__ALLOW='[10.0.0.0/8]'``; ``null`` stands for no value.

    :raises ConfigError: with one line for each problem, which names file, key, value and what is allowed.
    """
    settings = read_settings(path, environ) if path else SettingsFile(path=Path("defaults"))
    # A section whose keys are all commented out is empty YAML: it means the defaults.
    settings.values = {
        key: value for key, value in settings.values.items() if value is not None or not _models(annotation_at((key,)))
    }
    variables = _apply_environment(settings, environ)
    _place_in_data_dir(settings.values)
    try:
        config = MonitorConfig.model_validate(settings.values)
    except ValidationError as err:
        described = _Problems(settings, variables)
        settings.problems += [line for error in err.errors() if (line := described.line(error))]
    if settings.problems:
        raise ConfigError("\n".join(dict.fromkeys(settings.problems)))
    return config


def _apply_environment(settings: SettingsFile, environ: Mapping[str, str]) -> dict[KeyPath, str]:
    """Write the environment's values over the file's; which variable set which key."""
    variables: dict[KeyPath, str] = {}
    for name in sorted(name for name in environ if name.startswith(ENV_PREFIX)):
        path: KeyPath = tuple(name.removeprefix(ENV_PREFIX).lower().split("__"))
        section: Any = settings.values
        for part in path[:-1]:
            section = section.setdefault(part, {}) if isinstance(section, dict) else None
            if section is None:
                break
        if not isinstance(section, dict):
            settings.problems.append(f"environment: {name}: the file has no mapping there to write into")
            continue
        try:
            section[str(path[-1])] = _environment_value(path, environ[name])
        except yaml.YAMLError:
            settings.problems.append(f"environment: {name}: must be YAML: [a, b] or {{key: value}}")
            continue
        settings.spoilt.discard(path)
        variables[path] = name
    return variables


def _place_in_data_dir(values: dict[str, Any]) -> None:
    data_dir = values.get("data_dir", "data")
    for (section, key), pattern in _IN_DATA_DIR.items():
        inner = values.setdefault(section, {})
        if isinstance(inner, dict) and inner.get(key) is None:
            inner[key] = pattern.format(data_dir)


def _environment_value(path: KeyPath, text: str) -> object:
    if text in _NULLS:
        return None
    return yaml.safe_load(text) if _holds_several(annotation_at(path)) else text


def _holds_several(annotation: Any) -> bool:
    origin = get_origin(annotation) or annotation
    if isinstance(origin, type) and issubclass(origin, (tuple, list, set, frozenset, dict, Mapping, BaseModel)):
        return True
    return any(_holds_several(part) for part in get_args(annotation) if part is not Ellipsis)


def _models(annotation: Any) -> list[type[BaseModel]]:
    """Every model that a value of this type can be or hold."""
    own = [annotation] if isinstance(annotation, type) and issubclass(annotation, BaseModel) else []
    return own + [model for part in get_args(annotation) for model in _models(part)]


def annotation_at(path: KeyPath) -> Any:
    """The type declared for the setting at ``path``; None where there is no such setting.

    Inside a list, the first of its models that has the key speaks for all.
    """
    annotation: Any = MonitorConfig
    for key in path:
        if isinstance(key, int):
            continue
        fields = [model.model_fields[key] for model in _models(annotation) if key in model.model_fields]
        if not fields:
            return None
        annotation = fields[0].annotation
    return annotation


def _settings_named(key: str | int) -> list[KeyPath]:
    """Where in all sections there is a setting of that name; lists are left out."""
    found: list[KeyPath] = []
    open_paths: list[KeyPath] = [()]
    while open_paths:
        path = open_paths.pop()
        annotation = annotation_at(path)
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            inner = [(*path, name) for name in annotation.model_fields]
            found += [each for each in inner if each[-1] == key]
            open_paths += inner
    return found


class _Problems:
    """Words for what validation found."""

    def __init__(self, settings: SettingsFile, variables: Mapping[KeyPath, str]) -> None:
        self._settings = settings
        self._variables = variables

    def line(self, error: ErrorDetails) -> str | None:
        """One line for one error; None if its value was complained of already."""
        path = self._path(error)
        if path in self._settings.spoilt:
            return None
        if error["type"] == "extra_forbidden":
            return f"{self._label(path)}: {self._unknown(path)}"
        if error["type"] == "missing":
            return f"{self._label(path)}: is missing; {annotation_name(annotation_at(path))} is expected"
        shown, value = self._shown(path, error["input"]), error["input"]
        why = _reason(error)
        if error["type"] == "value_error" and isinstance(value, Mapping):
            # About how its settings go together; the words name them.
            return f"{self._label(path)}: {why}"
        if isinstance(value, str) and value:
            why = why.replace(value, "***" if shown.startswith("***") else redact_text(value))
        return f"{self._label(path)}: {shown} is not allowed: {why}"

    def _path(self, error: ErrorDetails) -> KeyPath:
        """The error's place as it stands in the file: pydantic also names the branches of a union."""
        place: Any = self._settings.values
        path: list[str | int] = []
        last = error["loc"][-1] if error["loc"] and error["type"] == "missing" else None
        for key in error["loc"]:
            inside = (isinstance(place, dict) and key in place) or (
                isinstance(place, list) and isinstance(key, int) and key < len(place)
            )
            if inside:
                place = place[key]
                path.append(key)
        return (*path, last) if last is not None else tuple(path)

    def _label(self, path: KeyPath) -> str:
        for end in range(len(path), 0, -1):
            if path[:end] in self._variables:
                return f"environment: {self._variables[path[:end]]}: {show_path(path)}"
        return self._settings.label(path)

    def _unknown(self, path: KeyPath) -> str:
        known = sorted({name for model in _models(annotation_at(path[:-1])) for name in model.model_fields})
        near = difflib.get_close_matches(str(path[-1]), known, n=1, cutoff=0.6)
        if near:
            return f"there is no such setting; did you mean {show_path((*path[:-1], near[0]))}?"
        if elsewhere := _settings_named(path[-1]):
            return f"there is no such setting; did you mean {' or '.join(map(show_path, elsewhere))}?"
        return f"there is no such setting; allowed here: {', '.join(known)}"

    def _shown(self, path: KeyPath, value: object) -> str:
        if path in self._settings.written and path not in self._variables:
            return f"*** (from {self._settings.written[path]})"
        if isinstance(value, SecretStr) or any(_SECRET.search(str(part)) for part in path):
            return "*** (not shown)"
        if isinstance(value, Mapping):
            return f"the mapping with the keys {', '.join(map(str, value)) or '(none)'}"
        if isinstance(value, list):
            return f"the list of {len(value)}"
        text = redact_text(repr(value))
        return text if len(text) <= 80 else f"{text[:77]}..."


def _reason(error: ErrorDetails) -> str:
    """What is allowed, from pydantic's words."""
    kind = error["type"]
    if kind in ("model_type", "dict_type", "model_attributes_type"):
        return "must be a mapping of settings (key: value)"
    if kind == "union_tag_not_found":
        return f"must have the key {error['ctx']['discriminator']}"
    if kind == "union_tag_invalid":
        return f"{error['ctx']['discriminator']} must be one of {error['ctx']['expected_tags']}"
    if kind in ("list_type", "tuple_type", "set_type", "frozen_set_type"):
        return "must be a list: [a, b]"
    if kind == "too_short":
        return f"must hold at least {error['ctx']['min_length']}"
    if kind in ("int_parsing", "int_type"):
        return "must be a whole number"
    if kind == "string_type":
        return "must be text: write it in quotes"
    words = error["msg"].removeprefix("Value error, ")
    return re.sub(r"^(Input|String|Tuple|List|Dictionary|Number) should", "must", words)


def annotation_name(annotation: Any) -> str:
    """A setting's type in words."""
    return annotation.__name__ if isinstance(annotation, type) else str(annotation).replace("typing.", "")
