"""config/monitor.yaml says what the code does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import yaml
from pydantic import BaseModel
from support.example_config import render

from monitor.alerts.config import AlertmanagerReceiverConfig, LogReceiverConfig, WebhookReceiverConfig
from monitor.config import MonitorConfig, load_config
from monitor.streams.hook_config import HookConfig

SHIPPED = Path(__file__).parents[2] / "config" / "monitor.yaml"
SECRET = "whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY="


def keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield f"{prefix}{name}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from keys(field.annotation, f"{prefix}{name}.")


def test_the_shipped_settings_are_the_codes_defaults():
    assert load_config(SHIPPED, {}) == MonitorConfig()


def test_the_shipped_settings_have_every_key_and_no_other():
    def flat(values: dict, prefix: str = "") -> Iterator[str]:
        for name, value in values.items():
            yield f"{prefix}{name}"
            if isinstance(value, dict):
                yield from flat(value, f"{prefix}{name}.")

    assert sorted(flat(yaml.safe_load(SHIPPED.read_text()))) == sorted(keys(MonitorConfig))


def test_the_shipped_settings_explain_every_key_in_the_codes_words():
    advice = "write it again: PYTHONPATH=. python tests/support/example_config.py > config/monitor.yaml"
    assert SHIPPED.read_text() == render(), advice


def test_the_receivers_that_are_commented_out_are_valid_and_have_every_key(tmp_path):
    text = SHIPPED.read_text()
    examples = re.sub(r"(?m)^(    )# (- type|  [a-z_]+: )", r"\1\2", text)
    path = tmp_path / "monitor.yaml"
    path.write_text(examples)
    config = load_config(path, {"MONITOR_WEBHOOK_SECRET": SECRET})
    assert [receiver.type for receiver in config.alerts.receivers] == ["log", "webhook", "alertmanager"]
    written = yaml.safe_load(examples)["alerts"]["receivers"]
    models = (LogReceiverConfig, WebhookReceiverConfig, AlertmanagerReceiverConfig)
    for receiver, model in zip(written, models, strict=True):
        assert set(receiver) == set(model.model_fields)


def test_the_hook_that_is_commented_out_is_valid_and_has_every_key(tmp_path):
    text = SHIPPED.read_text()
    example = text[text.index("# hooks:") :].replace("# ", "").replace("#   ", "  ")
    path = tmp_path / "monitor.yaml"
    path.write_text(example)
    (hook,) = load_config(path, {"MONITOR_HOOK_SECRET": "s" * 32}).hooks
    assert hook.type == "nginx-rtmp"
    (written,) = yaml.safe_load(example)["hooks"]
    assert set(written) == set(HookConfig.model_fields)
