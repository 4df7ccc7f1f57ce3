"""``monitor check-config``: validates every file that the daemon would read, and starts nothing."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from monitor.cli.options import add_config_option, add_json_option
from monitor.errors import AddressRefused, MonitorError
from monitor.faces.config import OPENCV_ZOO, FacesConfig
from monitor.redact import redact_text

if TYPE_CHECKING:
    from monitor.config import MonitorConfig
    from monitor.gallery.identity import Identity
    from monitor.streams.config import NetworkConfig
    from monitor.streams.stream import Stream

_Found = TypeVar("_Found")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "check-config",
        help="validate the configuration without starting anything",
        description="Validates the settings, the rooms and the identities' files. "
        "Exit code 0: valid (there may be warnings); 2: not valid.",
    )
    add_config_option(parser)
    add_json_option(parser)


@dataclass(slots=True, kw_only=True)
class Report:
    """What was found."""

    config: MonitorConfig | None = None
    streams: tuple[Stream, ...] = ()
    identities: tuple[Identity, ...] = ()
    warnings: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """One line each; with none, the daemon would start."""


def run(args: argparse.Namespace) -> int:
    """Check, print, and say by the exit code whether the daemon would start."""
    report = check(args.config, os.environ)
    if args.json:
        print(json.dumps(_as_json(args.config, report), ensure_ascii=False))
        return 2 if report.problems else 0
    for problem in report.problems:
        print(f"monitor: {problem}", file=sys.stderr)
    if report.config is not None:
        _print_summary(args.config, report.config, report)
    for warning in report.warnings:
        print(f"warning: {warning}")
    if report.problems:
        count = len(report.problems)
        print(f"monitor: not valid: {count} problem{'s' if count > 1 else ''}", file=sys.stderr)
        return 2
    print("valid")
    return 0


def check(path: Path, environ: Mapping[str, str]) -> Report:
    """Read every file; problems of all of them are collected, and nothing is raised for them."""
    from monitor.config import load_config
    from monitor.streams.catalogue import load_streams

    report = Report()
    report.config = config = _collect(report, lambda: load_config(path, environ))
    if config is None:
        return report
    report.streams = _collect(report, lambda: load_streams(config.streams_file)) or ()
    _collect(report, lambda: _check_networks(config.faces))
    report.identities = _collect(report, lambda: _identities(config.gallery.folder, report)) or ()
    report.warnings += _warnings(config, report)
    return report


def _collect(report: Report, read: Callable[[], _Found]) -> _Found | None:
    try:
        return read()
    except MonitorError as err:
        report.problems += redact_text(str(err)).splitlines()
        return None


def _check_networks(config: FacesConfig) -> None:
    """Look whether what runs the networks and the operator's own files are there; ``monitor doctor`` runs them.

    :raises PackError: if something is not.
    """
    from monitor.faces.packs import locate
    from monitor.faces.providers import require
    from monitor.faces.quality_network import require_file

    if config.provider != "auto":
        require(config.provider)
    if config.pack != OPENCV_ZOO:
        locate(config)
    if config.quality_network is not None:
        require_file(config.quality_network)


def _identities(folder: Path, report: Report) -> tuple[Identity, ...]:
    from monitor.errors import GalleryError
    from monitor.gallery.folder import read_identity_file, scan_folder
    from monitor.gallery.identity_file import parse_identity

    scan = scan_folder(folder, now=datetime.now(UTC))
    report.problems += [str(error) for error in scan.errors]
    identities = []
    for found in scan.folders:
        try:
            identities.append(
                parse_identity(read_identity_file(found.file), identity_id=found.id, path=found.file.path)
            )
        except GalleryError as err:
            report.problems.append(str(err))
            continue
        if all(photo.look_alike for photo in found.photos):
            report.warnings.append(f"{folder / found.id}: has no photo, so nobody is protected by it")
    return tuple(identities)


def _warnings(config: MonitorConfig, report: Report) -> list[str]:
    from monitor.web.readiness import Watch

    watch = Watch(
        streams=len(report.streams),
        hooks=len(config.hooks),
        identities=len(report.identities),
        receivers=len(config.alerts.receivers),
    )
    warnings = list(watch.gaps) if not report.problems else []
    if not config.web.is_loopback:
        warnings.append(
            f"web.host {config.web.host} can be reached from other machines, and the pages have no login: "
            "put a proxy with one in front"
        )
    if {receiver.type for receiver in config.alerts.receivers} == {"log"}:
        warnings.append("the only receiver is the log: alerts reach nobody who does not read it")
    return warnings + [
        f"{config.streams_file}: {stream.id}: {why}; the daemon keeps trying"
        for stream in report.streams
        if (why := _refused(stream, config.network))
    ]


def _refused(stream: Stream, network: NetworkConfig) -> str | None:
    """Why the room's address would be refused, as far as that is known without asking anybody for names."""
    from monitor.streams.guard import AddressGuard

    guard, parts = AddressGuard(network), urlsplit(stream.url)
    try:
        if parts.scheme in ("", "file"):
            return None if guard.check_file(stream.url).is_file() else "there is no such file"
        guard.literal(parts.hostname or "")
    except AddressRefused as err:
        return str(err)
    return None


def _summary(path: Path, config: MonitorConfig, report: Report) -> list[tuple[str, str]]:
    from sqlalchemy.engine import make_url

    address = config.web.base_url or f"http://{config.web.host}:{config.web.port}"
    database = Path(make_url(config.storage.url).database or "")
    receivers = ", ".join(f"{receiver.name} ({receiver.type})" for receiver in config.alerts.receivers)
    return [
        ("settings", str(path)),
        ("rooms", f"{len(report.streams)} in {config.streams_file}"),
        ("identities", f"{len(report.identities)} in {config.gallery.folder.resolve()}"),
        ("receivers", receivers or "none"),
        ("pack", f"{config.faces.pack}, provider {config.faces.provider}"),
        ("database", str(database.resolve())),
        ("evidence", str(config.evidence.folder.resolve())),
        ("pages", address),
    ]


def _print_summary(path: Path, config: MonitorConfig, report: Report) -> None:
    for name, value in _summary(path, config, report):
        print(f"{name + ':':<12}{value}")


def _as_json(path: Path, report: Report) -> dict[str, Any]:
    config = report.config
    return {
        "valid": not report.problems,
        "problems": report.problems,
        "warnings": report.warnings,
        "config": str(path),
        "streams": [stream.id for stream in report.streams],
        "identities": [identity.id for identity in report.identities],
        "receivers": [receiver.name for receiver in config.alerts.receivers] if config else [],
    }
