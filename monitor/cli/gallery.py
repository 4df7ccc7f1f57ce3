"""``monitor gallery list|sync|check``: the protected people and their photos."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import sys
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

from monitor.cli.options import add_config_option, add_json_option

if TYPE_CHECKING:
    from monitor.config import MonitorConfig
    from monitor.gallery.identity import Permission
    from monitor.gallery.misfiled import Alike
    from monitor.gallery.snapshot import GallerySnapshot
    from monitor.gallery.store import ReferenceStore

Progress = Callable[[int, int, str], None]


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = subparsers.add_parser("gallery", help="list, check or enrol the protected people")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    lines = {
        "list": "show who is protected, by which photos, and who may show them",
        "sync": "enrol the photos into the database now; a running daemon does so by itself",
        "check": "judge every photo without writing to the database; exit code 2 if anything is refused",
    }
    for name, line in lines.items():
        action = actions.add_parser(name, help=line, description=line[0].upper() + line[1:] + ".")
        add_config_option(action)
        add_json_option(action)


def run(args: argparse.Namespace) -> int:
    """Synchronise with the store that the action calls for, and print the result."""
    from monitor.config import load_config

    config = load_config(args.config, os.environ)
    # What the gallery would log is what this command prints.
    logging.getLogger("monitor.gallery").addHandler(logging.NullHandler())
    with progress_bar(args.json) as progress:
        snapshot, alike = asyncio.run(_synchronise(config, args.action, progress))
    if args.json:
        print(json.dumps(_as_json(snapshot, alike), ensure_ascii=False))
    else:
        _print(snapshot, alike)
    refused = bool(snapshot.refused or snapshot.errors)
    return 2 if refused and args.action == "check" else 0


async def _synchronise(
    config: MonitorConfig, action: str, progress: Progress
) -> tuple[GallerySnapshot, Sequence[Alike]]:
    from prometheus_client import CollectorRegistry

    from monitor.clock import SystemClock
    from monitor.faces.metrics import FacesMetrics
    from monitor.faces.pool import VisionPool
    from monitor.gallery.gallery import Gallery
    from monitor.gallery.metrics import GalleryMetrics
    from monitor.gallery.misfiled import alike_across

    registry = CollectorRegistry()
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(_store(config, action))
        pool = VisionPool(config.faces, FacesMetrics(registry))
        stack.push_async_callback(pool.aclose)
        await pool.start()
        gallery = Gallery(config.gallery.folder, pool, store, config.gallery, SystemClock(), GalleryMetrics(registry))
        snapshot = await gallery.sync(progress)
        return snapshot, alike_across(snapshot, pool.pack.similarity_threshold) if action == "check" else ()


@asynccontextmanager
async def _store(config: MonitorConfig, action: str) -> AsyncGenerator[ReferenceStore, None]:
    """sync writes the database; list reads what it holds, if there is one; check judges every photo anew."""
    from monitor.cli.reference_cache import ReadOnlyStore, stored_references
    from monitor.storage.database import Database
    from monitor.storage.references import SqlReferenceStore

    if action == "check":
        yield ReadOnlyStore(None)
    elif action == "list":
        async with stored_references(config) as store:
            yield store
    else:
        database = Database(config.storage.url)
        await database.open()
        try:
            yield SqlReferenceStore(database)
        finally:
            await database.aclose()


@contextmanager
def progress_bar(quiet: bool) -> Iterator[Progress]:
    """A bar on a terminal's stderr; nothing elsewhere."""
    if quiet or not sys.stderr.isatty():
        yield lambda done, total, photo: None
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("loading the networks", total=None)
        yield lambda done, total, photo: bar.update(task, completed=done, total=total, description=escape(photo))


def _permission_json(permission: Permission) -> dict[str, Any]:
    return {
        "platform": permission.platform,
        "account": permission.account,
        "kinds": sorted(permission.kinds),
        "valid_from": permission.valid_from.isoformat() if permission.valid_from else None,
        "valid_until": permission.valid_until.isoformat() if permission.valid_until else None,
        "max_concurrent_rooms": permission.max_concurrent_rooms,
        "suspended": permission.suspended,
    }


def _as_json(snapshot: GallerySnapshot, alike: Sequence[Alike]) -> dict[str, Any]:
    identities = [
        {
            "id": identity.id,
            "names": dict(identity.names),
            "permissions": [_permission_json(permission) for permission in identity.permissions],
            "accepted": [
                {"photo": reference.photo, "face_height_px": round(reference.face_height_px, 1)}
                for reference in snapshot.references
                if reference.identity_id == identity.id
            ],
            "look_alikes": [
                {"photo": photo.photo, "face_height_px": round(photo.face_height_px, 1)}
                for photo in snapshot.look_alikes
                if photo.identity_id == identity.id
            ],
            "refused": [
                {"photo": photo.photo, "reason": photo.reason, "detail": photo.detail}
                for photo in snapshot.refused
                if photo.identity_id == identity.id
            ],
        }
        for identity in snapshot.identities.values()
    ]
    return {
        "identities": identities,
        "errors": [str(error) for error in snapshot.errors],
        "alike": [{"photos": one.photos, "similarity": round(one.similarity, 3)} for one in alike],
        "digest": snapshot.digest,
    }


def _permission_text(permission: Permission) -> str:
    text = f"{permission.platform}/{permission.account}: {', '.join(sorted(permission.kinds))}"
    if permission.valid_from:
        text += f", from {permission.valid_from}"
    if permission.valid_until:
        text += f", until {permission.valid_until}"
    if permission.max_concurrent_rooms:
        text += f", rooms at once: {permission.max_concurrent_rooms}"
    return text + (", suspended" if permission.suspended else "")


def _print(snapshot: GallerySnapshot, alike: Sequence[Alike]) -> None:
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    # Folded, not cut: a file name without its end names no file.
    columns = [
        Column(title, overflow="fold")
        for title in ("identity", "names", "accepted photos", "look-alikes", "may be shown by")
    ]
    table = Table(*columns, show_lines=True)
    for identity in snapshot.identities.values():
        accepted = [reference.photo for reference in snapshot.references if reference.identity_id == identity.id]
        others = [one.photo for one in snapshot.look_alikes if one.identity_id == identity.id]
        names = "\n".join(f"{name} ({language})" for language, name in identity.names.items())
        permissions = "\n".join(map(_permission_text, identity.permissions)) or "nobody"
        table.add_row(
            Text(identity.id),
            Text(names),
            Text("\n".join(accepted) or "none"),
            Text("\n".join(others)),
            Text(permissions),
        )
    Console().print(table)
    for photo in snapshot.refused:
        print(f"refused: {photo.identity_id}/{photo.photo}: {photo.reason}: {photo.detail}")
    for error in snapshot.errors:
        print(f"error: {error}")
    for one in alike:
        print(f"alike: {one}")
