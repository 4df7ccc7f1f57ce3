"""What ``monitor doctor`` looks at of the configured daemon: provider, pack, gallery, database and evidence."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from monitor.cli.doctor_check import Check, fail, ok, warn
from monitor.cli.doctor_machine import existing_parent
from monitor.errors import GalleryError, PackError
from monitor.faces.config import FacesConfig
from monitor.faces.face import PackInfo


def check_provider(configured: str, available: Sequence[str], *, has_nvidia: bool) -> Check:
    """Whether what is configured can be had, and whether a GPU lies idle."""
    shown = f"configured {configured}, available {', '.join(available) or 'none'}"
    if configured != "auto" and configured not in available:
        return fail("provider", shown, f"install what {configured} needs, or set faces.provider to auto or cpu")
    if has_nvidia and "cuda" not in available:
        return warn(
            "provider",
            f"{shown}; there is an NVIDIA GPU that is not used",
            "install the GPU requirements (onnxruntime-gpu in place of onnxruntime)",
        )
    return ok("provider", shown)


def check_pack(config: FacesConfig) -> Check:
    """Load the pack, which checks its files' digests, and run it once."""
    try:
        info = _loaded(config)
    except PackError as err:
        remedy = "set faces.pack, faces.pack_dir, faces.quality_network or faces.provider as the detail says"
        return fail("pack", str(err), remedy)
    runs = f"{info.name} on {info.provider} {info.precision} ({info.provider_reason})"
    detail = f"{runs}, {info.dimension}-d, digest {info.digest[:12]}, {info.licence}; {_quality_network(info)}"
    return ok("pack", detail)


def _quality_network(info: PackInfo) -> str:
    from monitor.faces.quality_network import PUBLISHED_SHA256

    if info.quality_digest is None:
        return "no quality network"
    known = "eDifFIQA(T) as published, CC-BY-4.0 (OpenCV Zoo)"
    origin = known if info.quality_digest == PUBLISHED_SHA256 else "not the file that OpenCV Zoo publishes"
    return f"quality network {info.quality_digest[:12]}: {origin}"


def _loaded(config: FacesConfig) -> PackInfo:
    """As the daemon would load it.

    :raises PackError: if it cannot.
    """
    from monitor.faces.inference.networks import load as load_for_batches
    from monitor.faces.inference.process import is_shared
    from monitor.faces.inference.sharing import own_quality_network
    from monitor.faces.loading import load

    if not is_shared(config):
        return load(config).info
    try:
        info = load_for_batches(config, config.gpus[0]).info
    except PackError:
        if config.provider != "auto" or config.shared_inference:
            raise
        return load(config).info
    if config.quality_network is None:
        return info
    return replace(info, quality_digest=own_quality_network(config.quality_network).digest)


def check_calibration(faces: FacesConfig, path: Path) -> Check:
    """Which calibration holds, and whether it belongs to the pack."""
    from monitor.faces.packs import locate
    from monitor.gallery.calibration_file import calibration_of

    try:
        calibration = calibration_of(locate(faces), path)
    except PackError as err:
        return fail("calibration", f"belongs to a pack that cannot be used: {err}", "put the pack right first")
    except GalleryError as err:
        return fail("calibration", str(err), f"run monitor calibrate, or remove {path}")
    return ok(
        "calibration", f"{calibration.source}; {len(calibration.identities)} identities with figures of their own"
    )


def check_gallery(folder: Path) -> Check:
    """Whether the protected people's files can be read; the photos are judged by ``monitor gallery check``."""
    from monitor.gallery.folder import read_identity_file, scan_folder
    from monitor.gallery.identity_file import parse_identity

    try:
        scan = scan_folder(folder, now=datetime.now(UTC))
    except GalleryError as err:
        return fail("gallery", str(err), f"make {folder} readable, or set gallery.folder")
    errors = [str(error) for error in scan.errors]
    for found in scan.folders:
        try:
            parse_identity(read_identity_file(found.file), identity_id=found.id, path=found.file.path)
        except GalleryError as err:
            errors.append(str(err))
    if errors:
        return warn("gallery", "; ".join(errors), "put the named files right; the rest of the gallery is used")
    if not scan.folders:
        return warn("gallery", f"{folder} is empty: nobody is protected", "add a folder with identity.yaml and photos")
    photos = sum(len(found.photos) for found in scan.folders)
    return ok("gallery", f"identities: {len(scan.folders)}, photos: {photos}, in {folder}")


def check_database(path: Path) -> Check:
    """Whether the database can be written; nothing is made or changed."""
    if not path.exists():
        return _writable("database", path.parent, f"{path} will be made", "storage.url or data_dir")
    remedy = "give this user the right to write it, or name another file in storage.url"
    try:
        # Neither makes a file nor waits long for a daemon that is writing.
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=2)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            connection.execute("ROLLBACK")
    except sqlite3.OperationalError as err:
        if "locked" in str(err):
            return warn("database", f"{path}: busy for 2 s", "another program holds it: end it, or try again")
        return fail("database", f"{path}: {err}", remedy)
    except sqlite3.DatabaseError as err:
        return fail("database", f"{path}: {err}", "restore it from a backup, or move it away")
    return ok("database", f"{path} can be written")


def check_evidence(folder: Path) -> Check:
    """Whether evidence can be written."""
    if folder.exists() and not folder.is_dir():
        return fail("evidence", f"{folder} is not a folder", "move that file away, or set evidence.folder")
    return _writable("evidence", folder, f"{folder} can be written", "evidence.folder or data_dir")


def _writable(name: str, folder: Path, detail: str, keys: str) -> Check:
    place = existing_parent(folder)
    if not place.is_dir():
        return fail(name, f"{place} is not a folder, but {folder} must be one", f"move it away, or set {keys}")
    if not os.access(place, os.W_OK | os.X_OK):
        return fail(name, f"{place} cannot be written by this user", f"give the right to write it, or set {keys}")
    return ok(name, detail)
