"""The calibration as a JSON file: what ``monitor calibrate`` writes and the daemon reads."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from uuid import uuid4

from pydantic import TypeAdapter, ValidationError

from monitor.errors import GalleryError
from monitor.gallery.calibration import Calibration
from monitor.gallery.calibration_defaults import Pack, default_calibration

FORMAT = "likeness-calibration"
FORMAT_VERSION = 1

_REMEDY = "write it anew with `monitor calibrate`, or remove it to use the pack's built-in calibration"
_ADAPTER = TypeAdapter(Calibration)


def write_calibration(path: Path, calibration: Calibration) -> None:
    """Replace the file at once; whoever reads sees the old or the new one.

    :raises GalleryError: it cannot be written.
    """
    document = {"format": FORMAT, "format_version": FORMAT_VERSION, **asdict(calibration)}
    replace_file(path, json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def replace_file(path: Path, text: str) -> None:
    """Write ``text`` so that a crash leaves either what was there or all of it.

    :raises GalleryError: it cannot be written; names the file.
    """
    # A name of its own for each writer: two may be at work when the daemon ends.
    beside = path.with_name(f".{path.name}.{uuid4().hex}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as err:
        with suppress(OSError):
            beside.unlink()
        raise GalleryError(f"{path}: cannot be written: {err.strerror}") from err


def calibration_of(pack: Pack, path: Path) -> Calibration:
    """The file's calibration; the pack's built-in one where there is no file.

    :raises GalleryError: the file cannot be used, or was made with another pack; names the remedy.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return default_calibration(pack)
    except (OSError, UnicodeDecodeError) as err:
        raise GalleryError(f"{path}: cannot be read: {err}; {_REMEDY}") from err
    calibration = _parsed(text, path)
    if calibration.pack_digest != pack.digest:
        raise GalleryError(
            f"{path}: was made with pack {calibration.pack_name} (digest {calibration.pack_digest[:12]}), and "
            f"{pack.name} (digest {pack.digest[:12]}) is loaded: similarities of different packs mean different "
            f"things; {_REMEDY}"
        )
    return calibration


def _parsed(text: str, path: Path) -> Calibration:
    try:
        document = json.loads(text)
    except ValueError as err:
        raise GalleryError(f"{path}: is not JSON: {err}; {_REMEDY}") from err
    if not isinstance(document, dict) or document.pop("format", None) != FORMAT:
        raise GalleryError(f"{path}: is not a calibration (no format {FORMAT}); {_REMEDY}")
    version = document.pop("format_version", None)
    if version != FORMAT_VERSION:
        raise GalleryError(f"{path}: format_version {version!r} is not {FORMAT_VERSION}; {_REMEDY}")
    try:
        return _ADAPTER.validate_python(document)
    except ValidationError as err:
        first = err.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the file"
        raise GalleryError(f"{path}: {key}: {first['msg'].removeprefix('Value error, ')}; {_REMEDY}") from err
