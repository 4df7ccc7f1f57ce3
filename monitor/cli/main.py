"""The ``monitor`` command: finds the subcommand, runs it, and turns errors into one clear line."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Protocol, cast

from monitor.errors import MonitorError
from monitor.redact import redact_text

EXIT_FAILED = 2
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141

COMMANDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "run": ("monitor.cli.run", "watch the configured rooms until stopped"),
        "demo": ("monitor.cli.demo", "publish four rooms on this machine and watch them"),
        "doctor": ("monitor.cli.doctor", "check this machine and say what to do"),
        "check-config": ("monitor.cli.check_config", "validate the configuration without starting anything"),
        "scan": ("monitor.cli.scan", "look for protected people in files, folders and addresses"),
        "gallery": ("monitor.cli.gallery", "list, check or enrol the protected people"),
        "calibrate": ("monitor.cli.calibrate", "measure how alike strangers are, and say what to expect"),
        "streams": ("monitor.cli.streams", "list, add, remove or watch the rooms of a running daemon"),
        "evaluate": ("monitor.cli.evaluate", "measure how surely people are found again"),
        "bench": ("monitor.cli.bench", "measure how long an alert takes, and what watching and searching cost"),
    }
)
"""Command to its module and its line in the help."""


class Command(Protocol):
    """What a command's module offers."""

    def add_parser(self, subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> object:
        """Declare the command's arguments; loads nothing heavy."""

    def run(self, args: argparse.Namespace) -> int:
        """Do it; the exit code."""


class _Version(argparse.Action):
    """Prints the version; the package's metadata is only read when asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object, **__: object) -> None:
        from importlib import metadata

        try:
            version = metadata.version("likeness-monitor")
        except metadata.PackageNotFoundError:
            version = "unknown (not installed)"
        print(f"monitor {version}")
        parser.exit()


def _parse(argv: Sequence[str]) -> tuple[Command, argparse.Namespace]:
    parser = argparse.ArgumentParser(
        prog="monitor",
        description="Watches live rooms, sees whose face is shown, knows who may show it, and alerts.",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    wanted = next((word for word in argv if not word.startswith("-")), None)
    module: Command | None = None
    for name, (module_name, line) in COMMANDS.items():
        if name == wanted:
            module = cast(Command, importlib.import_module(module_name))
            module.add_parser(subparsers)
        else:
            subparsers.add_parser(name, help=line)
    args = parser.parse_args(argv)
    assert module is not None, "argparse accepts only names in COMMANDS"
    return module, args


def _leaves(err: BaseException) -> Iterator[BaseException]:
    if isinstance(err, BaseExceptionGroup):
        for part in err.exceptions:
            yield from _leaves(part)
    else:
        yield err


def _complain(errors: Sequence[BaseException]) -> int:
    for message in dict.fromkeys(redact_text(str(err)) for err in errors):
        for line in message.splitlines():
            print(f"monitor: {line}", file=sys.stderr)
    return EXIT_FAILED


def _abandon_output() -> int:
    """Point stdout at nothing, or the interpreter complains once more while it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return EXIT_BROKEN_PIPE


def _guarded(argv: Sequence[str]) -> int:
    try:
        module, args = _parse(argv)
        code = module.run(args)
        sys.stdout.flush()
        return code
    except MonitorError as err:
        return _complain([err])
    except BaseExceptionGroup as group:
        # A task group wraps what its tasks raised; anything but our own errors is a defect and keeps its trace.
        leaves = list(_leaves(group))
        if all(isinstance(err, MonitorError) for err in leaves):
            return _complain(leaves)
        raise


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. 0 done, 2 refused or failed, 130 interrupted, 141 the reader of the output went away."""
    try:
        return _guarded(sys.argv[1:] if argv is None else argv)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        return _abandon_output()


if __name__ == "__main__":
    sys.exit(main())
