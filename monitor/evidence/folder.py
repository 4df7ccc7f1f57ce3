"""One incident's files on disk: all of them or none, and never changed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from monitor.errors import EvidenceError
from monitor.evidence.manifest import MANIFEST

_PARTIAL = ".partial"


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """Evidence that is on disk."""

    folder: Path
    manifest: bytes = field(repr=False)
    """As it is there."""
    new: bool
    """Whether it was not there before."""


def write_once(folder: Path, files: Mapping[str, bytes]) -> Written:
    """Make ``folder`` with ``files``, by one rename after all of them are on disk, unless it is there already.

    :raises EvidenceError: nothing was written.
    """
    if present := _present(folder):
        return present
    # A name of its own for each attempt: one that was given up on for its slowness may still be writing.
    partial = folder.with_name(f".{folder.name}.{uuid4().hex}{_PARTIAL}")
    try:
        partial.mkdir(parents=True)
        for name, content in files.items():
            _write_file(partial / name, content)
        _sync_folder(partial)
        partial.rename(folder)
        _sync_folder(folder.parent)
    except OSError as err:
        shutil.rmtree(partial, ignore_errors=True)
        if present := _present(folder):
            return present
        raise EvidenceError(
            f"evidence folder {folder} cannot be written ({err.strerror}); free some space and give this user the "
            "right to write there"
        ) from err
    return Written(folder=folder, manifest=files[MANIFEST], new=True)


def remove_partial(evidence_folder: Path) -> None:
    """Remove what a killed process left half written."""
    for partial in evidence_folder.glob(f".*{_PARTIAL}"):
        shutil.rmtree(partial, ignore_errors=True)


def _present(folder: Path) -> Written | None:
    """What was recorded in ``folder`` before.

    :raises EvidenceError: there is a folder without a readable manifest.
    """
    # Asked first: a folder that appears meanwhile appears whole, and is found at the next try.
    was_there = folder.exists()
    try:
        return Written(folder=folder, manifest=(folder / MANIFEST).read_bytes(), new=False)
    except FileNotFoundError as err:
        if was_there:
            raise EvidenceError(f"evidence folder {folder} has no {MANIFEST}: move the folder away") from err
        return None
    except OSError as err:
        raise EvidenceError(f"evidence folder {folder} cannot be read ({err.strerror}); check its rights") from err


def _write_file(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
