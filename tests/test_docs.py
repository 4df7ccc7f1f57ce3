"""What the README and CONTRIBUTING say is what the code has."""

from __future__ import annotations

import argparse
import importlib
import re
from pathlib import Path

import pytest
from support.readme_tables import README, metrics_rows, settings_rows

from monitor.cli.main import COMMANDS
from monitor.errors import StreamReason
from monitor.faces.gate import GateVerdict
from monitor.incidents.incident import Decision
from monitor.sightings.presence import Presence
from monitor.sightings.sighting import EvidenceVerdict

ROOT = README.parent


def readme() -> str:
    return README.read_text()


def test_every_setting_stands_in_the_readme_with_its_default_and_description() -> None:
    assert [row for row in settings_rows() if row not in readme().splitlines()] == []


def test_every_metric_stands_in_the_readme_with_its_type_and_help() -> None:
    assert [row for row in metrics_rows() if row not in readme().splitlines()] == []


def test_no_setting_or_metric_stands_in_the_readme_that_the_code_has_not() -> None:
    tables = re.findall(r"^\| `[\w.]+` \|.*$", readme(), re.MULTILINE)
    known = {row.split("|")[1] for row in (*settings_rows(), *metrics_rows())}
    documented = {row.split("|")[1] for row in tables if "." in row.split("|")[1] or "monitor_" in row.split("|")[1]}
    assert documented - known == set()


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_and_its_options_stand_in_the_readme(command: str) -> None:
    assert f"monitor {command}" in readme()
    parser = argparse.ArgumentParser()
    subparsers = parser.add_subparsers()
    importlib.import_module(COMMANDS[command][0]).add_parser(subparsers)
    options = {option for option in _options(subparsers.choices[command]) if option.startswith("--")}
    assert {option for option in options - {"--help"} if f"`{option}" not in readme()} == set()


def _options(parser: argparse.ArgumentParser) -> set[str]:
    found = set()
    for action in parser._actions:
        found |= set(action.option_strings)
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                found |= _options(inner)
    return found


def test_every_endpoint_stands_in_the_readme() -> None:
    source = (ROOT / "monitor/web/app.py").read_text()
    paths = {path for path in re.findall(r'"(/[^"]*)"', source) if path != "/static"}
    assert {path for path in paths if f"`{path}`" not in readme()} == set()
    assert len(paths) > 5


@pytest.mark.parametrize("words", [Decision, EvidenceVerdict, GateVerdict, Presence, StreamReason])
def test_every_reason_that_a_log_or_metric_can_say_stands_in_the_readme(words: type) -> None:
    assert {word.value for word in words if f"`{word.value}`" not in readme()} == set()


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_every_link_to_a_file_leads_somewhere(document: str) -> None:
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", (ROOT / document).read_text())
    assert [target for target in targets if not (ROOT / target).exists()] == []


@pytest.mark.parametrize("target", ["demo", "test", "run", "install"])
def test_every_make_target_that_the_readme_names_exists(target: str) -> None:
    assert f"make {target}" in readme()
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_the_package_lists_install_one_opencv_and_one_onnx_runtime_and_name_no_index() -> None:
    lists = sorted(Path(ROOT / "deploy/requirements").glob("*.txt"))
    locked = [path for path in lists if "overrides" not in path.name]
    assert {path.name for path in locked} == {"cpu.txt", "gpu.txt", "openvino.txt", "test.txt"}
    for path in locked:
        names = re.findall(r"^([a-z0-9-]+)==", path.read_text(), re.MULTILINE)
        assert [name for name in names if name.startswith("opencv")] == ["opencv-python-headless"], path.name
        runtimes = [name for name in names if name.startswith("onnxruntime")]
        assert runtimes == (["onnxruntime-gpu"] if path.name == "gpu.txt" else ["onnxruntime"]), path.name
        assert "://" not in path.read_text(), path.name
