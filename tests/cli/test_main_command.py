"""The command itself: help, errors, interruption, broken pipes."""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from monitor.cli import main as command
from monitor.errors import ConfigError, StorageError

ROOT = Path(__file__).parents[2]


def start(*argv: str, **options: object) -> subprocess.Popen[bytes]:
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    line = [sys.executable, "-m", "monitor.cli.main", *argv]
    return subprocess.Popen(line, env=environ, stderr=subprocess.PIPE, **options)  # type: ignore[call-overload]


def children_cpu_s() -> float:
    """What ended children have computed: on a busy machine they take longer, but not more of that."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.fixture
def pretend(monkeypatch):
    """Puts a module of the test's own in the place of ``monitor run``."""

    def pretend(run) -> None:
        def add_parser(subparsers: argparse._SubParsersAction) -> None:
            subparsers.add_parser("run")

        module = SimpleNamespace(add_parser=add_parser, run=run)
        monkeypatch.setattr(command, "importlib", SimpleNamespace(import_module=lambda name: module))

    return pretend


def raiser(err: BaseException):
    def run(args: argparse.Namespace) -> int:
        raise err

    return run


def test_help_lists_every_command_and_loads_no_heavy_module():
    code = "import sys; from monitor.cli.main import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    code += "heavy = {'numpy', 'av', 'aiohttp', 'pydantic', 'sqlalchemy', 'onnxruntime', 'cv2', 'rich', 'yaml'}\n"
    code += "print('LOADED', sorted(heavy & sys.modules.keys()))"
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert "LOADED []" in done.stdout
    for name in command.COMMANDS:
        assert f"\n    {name}" in done.stdout


def test_help_takes_less_than_300_ms():
    took = []
    for _ in range(5):
        begun = children_cpu_s()
        process = start("--help", stdout=subprocess.DEVNULL)
        process.communicate()
        assert process.returncode == 0
        took.append(children_cpu_s() - begun)
    assert min(took) < 0.3


@pytest.mark.parametrize("name", ["check-config", "doctor", "gallery"])
def test_each_command_explains_itself(monitor, name):
    code, out, _ = monitor(name, "--help")
    assert code == 0
    assert out.startswith(f"usage: monitor {name}")


def test_the_version_is_printed(monitor):
    code, out, _ = monitor("--version")
    assert code == 0
    assert out.startswith("monitor ")


@pytest.mark.parametrize("argv", [[], ["nonsense"], ["doctor", "--nonsense"], ["gallery"]])
def test_a_wrong_command_line_is_refused_with_the_usage(monitor, argv):
    code, _, err = monitor(*argv)
    assert code == 2
    assert err.startswith("usage: monitor")


def test_the_exit_code_is_the_commands(monitor, pretend):
    pretend(lambda args: 7)
    assert monitor("run")[0] == 7


def test_an_expected_error_is_one_line_without_trace_or_secret(monitor, pretend):
    pretend(raiser(StorageError("cannot write; see rtmp://h/app/key")))
    assert monitor("run") == (2, "", "monitor: cannot write; see rtmp://h/***\n")


def test_every_problem_of_an_error_has_its_line(monitor, pretend):
    pretend(raiser(ConfigError("a: wrong\nb: wrong")))
    assert monitor("run")[2] == "monitor: a: wrong\nmonitor: b: wrong\n"


def test_expected_errors_out_of_task_groups_are_told_once_each(monitor, pretend):
    inner = ExceptionGroup("inner", [ConfigError("a"), StorageError("b")])
    pretend(raiser(ExceptionGroup("outer", [inner, ConfigError("a")])))
    assert monitor("run") == (2, "", "monitor: a\nmonitor: b\n")


def test_a_defect_keeps_its_trace(pretend):
    pretend(raiser(ExceptionGroup("outer", [ConfigError("a"), KeyError("b")])))
    with pytest.raises(ExceptionGroup):
        command.main(["run"])
    pretend(raiser(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        command.main(["run"])


def test_an_interruption_is_130(monitor, pretend):
    pretend(raiser(KeyboardInterrupt()))
    assert monitor("run") == (130, "", "")


def test_ctrl_c_ends_a_running_command_with_130_and_no_trace():
    code = (
        "import sys, asyncio, argparse; from types import SimpleNamespace; from monitor.cli import main as m\n"
        "async def wait(): print('up', flush=True); await asyncio.sleep(60)\n"
        "def run(args): asyncio.run(wait()); return 0\n"
        "mod = SimpleNamespace(add_parser=lambda s: s.add_parser('run'), run=run)\n"
        "m.importlib = SimpleNamespace(import_module=lambda n: mod)\nsys.exit(m.main(['run']))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, b"")


def test_a_reader_that_goes_away_is_no_error(operator):
    read_end, write_end = os.pipe()
    process = start("check-config", "--config", str(operator / "config" / "monitor.yaml"), stdout=write_end)
    os.close(write_end)
    os.close(read_end)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (141, b"")


def test_an_event_loop_that_was_interrupted_does_not_hide_the_code(monitor, pretend):
    def run(args: argparse.Namespace) -> int:
        async def interrupted() -> None:
            raise KeyboardInterrupt

        asyncio.run(interrupted())
        return 0

    pretend(run)
    assert monitor("run")[0] == 130
