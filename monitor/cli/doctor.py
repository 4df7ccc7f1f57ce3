"""``monitor doctor``: looks at this machine and this configuration, and says what to do."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from monitor.cli.options import add_config_option, add_json_option

if TYPE_CHECKING:
    from monitor.cli.doctor_check import Check
    from monitor.config import MonitorConfig


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "doctor",
        help="check this machine and say what to do",
        description="Checks packages, providers, the model pack, disk, clock, port, gallery and database. "
        "Exit code 0: nothing failed (there may be warnings); 2: something must be put right.",
    )
    add_config_option(parser)
    add_json_option(parser)


def run(args: argparse.Namespace) -> int:
    """Look at everything, print what was found, and fail if anything failed."""
    from monitor.cli.doctor_check import CheckStatus

    checks = examine(args.config, os.environ)
    if args.json:
        print(json.dumps({"checks": [asdict(check) for check in checks]}, ensure_ascii=False))
    else:
        _print_table(checks)
    return 2 if any(check.status is CheckStatus.FAIL for check in checks) else 0


def examine(path: Path, environ: Mapping[str, str]) -> list[Check]:
    """All checks; those of the configured parts are left out while the configuration is not valid."""
    return [*_machine_checks(), *_configured_checks(path, environ)]


def _machine_checks() -> Iterator[Check]:
    from monitor.cli import doctor_machine as machine

    installed = machine.installed_packages()
    yield machine.check_python(sys.version_info[:2])
    yield machine.check_packages(machine.project_requires(), installed)
    yield from machine.check_rivals(installed)
    yield machine.check_opencv()
    yield machine.check_libav(machine.ffmpeg_version())
    yield machine.check_clock(machine.kernel_clock())


def _configured_checks(path: Path, environ: Mapping[str, str]) -> Iterator[Check]:
    from monitor.cli.check_config import check
    from monitor.cli.doctor_check import fail, ok, warn

    report = check(path, environ)
    if report.problems:
        yield fail("configuration", "; ".join(report.problems), "put the named keys right; see monitor check-config")
    elif report.warnings:
        yield warn("configuration", "; ".join(report.warnings), "see monitor check-config")
    else:
        yield ok("configuration", f"{path} is valid")
    if report.config is not None:
        yield from _part_checks(report.config)


def _part_checks(config: MonitorConfig) -> Iterator[Check]:
    from sqlalchemy.engine import make_url

    from monitor.cli import doctor_machine as machine
    from monitor.cli import doctor_parts as parts
    from monitor.faces.providers import available

    has_nvidia = Path("/dev/nvidiactl").exists()
    yield parts.check_provider(config.faces.provider, available(), has_nvidia=has_nvidia)
    yield parts.check_pack(config.faces)
    yield parts.check_calibration(config.faces, config.gallery.calibration_file)
    yield parts.check_gallery(config.gallery.folder)
    yield parts.check_database(Path(make_url(config.storage.url).database or ""))
    yield parts.check_evidence(config.evidence.folder)
    yield machine.check_disk(config.data_dir, machine.free_bytes(config.data_dir))
    yield machine.check_port(config.web)


def _print_table(checks: Sequence[Check]) -> None:
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    colours = {"ok": "green", "warn": "yellow", "fail": "bold red"}
    table = Table(*(Column(title, overflow="fold") for title in ("check", "status", "found", "what to do")))
    for check in checks:
        # Text, not markup: a path or a title may hold square brackets.
        status = Text(check.status, style=colours[check.status])
        table.add_row(Text(check.name), status, Text(check.detail), Text(check.remedy))
    Console().print(table)
