"""Writes config/monitor.yaml from the code: every key, its default, and its description as the comment.

PYTHONPATH=. python tests/support/example_config.py > config/monitor.yaml
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from monitor.config import MonitorConfig

HEADER = """\
# Settings of the monitor. Every key is here with its default; what is left out keeps it.
#
# Paths that are not absolute are taken from the working directory.
# ${NAME} inside a value is replaced by the environment variable NAME; write $${ for a literal ${.
# Any key can be overridden from the environment: MONITOR__WEB__PORT=9000, MONITOR__NETWORK__ALLOW='[10.0.0.0/8]'.
# Check a change with: monitor check-config
"""

IN_DATA_DIR = {
    ("storage", "url"): "null: monitor.db in data_dir.",
    ("evidence", "folder"): "null: evidence in data_dir.",
    ("faces", "cache_dir"): "null: cache in data_dir.",
    ("gallery", "calibration_file"): "null: calibration.json in data_dir.",
    ("gallery", "traffic_file"): "null: stranger_traffic.json in data_dir.",
}

RECEIVERS = """\
  receivers:
    - type: log
      name: log
    # Posts signed JSON (Standard Webhooks 1.0). Make a secret with: echo whsec_$(openssl rand -base64 32)
    # - type: webhook
    #   name: on-call
    #   url: https://on-call.example.org/hooks/likeness
    #   secret: ${MONITOR_WEBHOOK_SECRET}
    #   timeout_s: 10.0
    # Keeps each open violation firing in a Prometheus Alertmanager.
    # - type: alertmanager
    #   name: alertmanager
    #   url: http://127.0.0.1:9093
    #   labels: {team: trust-and-safety}
    #   timeout_s: 5.0
"""

HOOKS = """\
hooks: []
# hooks:
#   - type: nginx-rtmp
#     name: origin
#     secret: ${MONITOR_HOOK_SECRET}
#     url: rtmp://10.0.0.5/{app}/{name}
#     platform: own
#     account: "{name}"
#     room: "{name}"
#     kind: live
#     domain: null
#     replay_window_s: 300.0
#     forget_after_s: 3600.0
"""


def render() -> str:
    """The whole file."""
    return HEADER + "".join(_lines(MonitorConfig, MonitorConfig(), ()))


def _lines(model: type[BaseModel], values: BaseModel, path: tuple[str, ...]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        value = getattr(values, name)
        indent = "  " * len(path)
        here = (*path, name)
        if isinstance(value, BaseModel) or not path:
            yield "\n"
        yield _comment(field, indent, IN_DATA_DIR.get(here, ""))
        if isinstance(value, BaseModel):
            yield f"{indent}{name}:\n"
            yield from _lines(type(value), value, here)
        elif here == ("hooks",):
            yield HOOKS
        elif here == ("alerts", "receivers"):
            yield RECEIVERS
        else:
            yield f"{indent}{name}: {_value(None if here in IN_DATA_DIR else value)}\n"


def _comment(field: FieldInfo, indent: str, more: str) -> str:
    assert field.description, "every setting has a description"
    bounds = _bounds(field)
    text = " ".join(part for part in (field.description, f"Allowed: {bounds}." if bounds else "", more) if part)
    return "".join(f"{indent}# {line}\n" for line in textwrap.wrap(text, 116 - len(indent), break_on_hyphens=False))


def _bounds(field: FieldInfo) -> str:
    words = []
    for bound in field.metadata:
        for kind, attribute, word in ((Ge, "ge", "from"), (Gt, "gt", "above"), (Le, "le", "to"), (Lt, "lt", "below")):
            if isinstance(bound, kind):
                words.append(f"{word} {getattr(bound, attribute)}")
    return " ".join(words)


def _value(value: Any) -> str:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, str):
        return value if value and " " not in value else json.dumps(value)
    return json.dumps(value)


if __name__ == "__main__":
    print(render(), end="")
