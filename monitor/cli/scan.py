"""``monitor scan``: looks for protected people in video files, images, folders and addresses."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from monitor.cli.options import DEFAULT_CONFIG, add_json_option

if TYPE_CHECKING:
    from rich.progress import Progress

    from monitor.cli.scanner import Judge, Scanner
    from monitor.config import MonitorConfig
    from monitor.gallery.identity import RefusedPhoto
    from monitor.gallery.snapshot import GallerySnapshot
    from monitor.streams.packet import EncodedFrame
    from monitor.streams.reach import Reach

EXIT_UNREADABLE = 2

_IMAGES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})
_VIDEOS = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm", ".flv", ".ts", ".m2ts", ".avi", ".mpg", ".mpeg", ".3gp"})


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = subparsers.add_parser("scan", help="look for protected people", description=__doc__)
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="video file, image, folder or address")
    parser.add_argument("--gallery", type=Path, metavar="DIR", help="folder of identities (default: gallery.folder)")
    parser.add_argument("--platform", metavar="P", help="with --account: judge by the permissions of that account")
    parser.add_argument("--account", metavar="A", help="with --platform")
    parser.add_argument(
        "--interval", type=_seconds, default=0.5, metavar="S", help="seconds between looked-at pictures (default: 0.5)"
    )
    parser.add_argument(
        "--seconds", type=_seconds, default=60.0, metavar="S", help="how long an address is read (default: 60)"
    )
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help=f"settings file (default: {DEFAULT_CONFIG} if it is there)"
    )
    add_json_option(parser)
    parser.set_defaults(parser=parser)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0.1 <= value <= 86_400:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed: 0.1 to 86400 seconds")
    return value


def run(args: argparse.Namespace) -> int:
    """Scan every input; 2 if one could not be read."""
    from monitor.config import load_config

    if (args.platform is None) != (args.account is None):
        args.parser.error("--platform and --account go together")
    path = args.config or (DEFAULT_CONFIG if DEFAULT_CONFIG.exists() else None)
    config = load_config(path, os.environ)
    return asyncio.run(_scan(expand(args.inputs), args, config))


class Kind(Enum):
    """How an input is read."""

    IMAGE = "image"
    VIDEO = "video"
    ADDRESS = "address"
    EMPTY_FOLDER = "empty folder"


def expand(inputs: Sequence[str]) -> list[tuple[str, Kind]]:
    """The inputs in order; a folder is replaced by the images and videos in and below it, sorted."""
    expanded: list[tuple[str, Kind]] = []
    for name in inputs:
        if "://" in name:
            expanded.append((name, Kind.ADDRESS))
        elif Path(name).is_dir():
            found = [file for file in sorted(Path(name).rglob("*")) if file.suffix.lower() in _IMAGES | _VIDEOS]
            files = [(str(file), _kind(file)) for file in found if file.is_file()]
            expanded += files or [(name, Kind.EMPTY_FOLDER)]
        else:
            expanded.append((name, _kind(Path(name))))
    return expanded


def _kind(file: Path) -> Kind:
    return Kind.IMAGE if file.suffix.lower() in _IMAGES else Kind.VIDEO


async def _scan(inputs: Sequence[tuple[str, Kind]], args: argparse.Namespace, config: MonitorConfig) -> int:
    failed = False
    with _progress() as progress:
        async with _scanner(args, config, progress) as scanner:
            total = progress.add_task("scanning", total=len(inputs))
            for name, kind in inputs:
                progress.update(total, description="address" if kind is Kind.ADDRESS else Path(name).name)
                row = await _row(scanner, name, kind, args, config)
                failed = failed or "error" in row
                _say(json.dumps(row, ensure_ascii=False) if args.json else _in_words(row), progress)
                progress.advance(total)
    return EXIT_UNREADABLE if failed else 0


def _say(text: str, progress: Progress) -> None:
    """One result on stdout; above the bar where both share a terminal."""
    if sys.stdout.isatty() and not progress.disable:
        progress.console.print(text, markup=False, highlight=False, soft_wrap=True)
    else:
        print(text, flush=True)


async def _row(
    scanner: Scanner, name: str, kind: Kind, args: argparse.Namespace, config: MonitorConfig
) -> dict[str, Any]:
    from monitor.errors import MonitorError
    from monitor.redact import redact_text

    try:
        if kind is Kind.EMPTY_FOLDER:
            raise MonitorError("the folder holds no image or video")
        if kind is Kind.IMAGE:
            result = await scanner.image(Path(name))
        else:
            async with aclosing(_frames(name, kind, args, config)) as frames:
                result = await scanner.video(frames)
            if not result.frames:
                within = f" within {args.seconds:g} s" if kind is Kind.ADDRESS else ""
                raise MonitorError(f"not one picture could be read{within}")
    except MonitorError as err:
        return {"input": name, "error": redact_text(str(err))}
    return {"input": name, **result.to_dict()}


async def _frames(
    name: str, kind: Kind, args: argparse.Namespace, config: MonitorConfig
) -> AsyncGenerator[EncodedFrame, None]:
    """Pictures of a file to its end, or of an address for ``--seconds``.

    :raises StreamError: reading failed; at an address: before the first picture.
    """
    from monitor.streams.gop import iter_file

    if kind is Kind.ADDRESS:
        async with aclosing(_live(name, args, config)) as live:
            async for picture in live:
                yield picture
        return
    iterator = iter_file(Path(name), args.interval)
    while (frame := await asyncio.to_thread(next, iterator, None)) is not None:
        yield frame


async def _live(url: str, args: argparse.Namespace, config: MonitorConfig) -> AsyncGenerator[EncodedFrame, None]:
    from monitor.errors import StreamError
    from monitor.redact import redact_url
    from monitor.streams.gop import iter_source
    from monitor.streams.sources import choose

    _refuse_unparsable(url)
    deadline = asyncio.get_running_loop().time() + args.seconds
    began = False
    async with _reach(config) as reach:
        source = choose(url, reach, paced=False)
        async with aclosing(iter_source(source, args.interval)) as live:
            while (left := deadline - asyncio.get_running_loop().time()) > 0:
                try:
                    frame = await asyncio.wait_for(anext(live), left)
                except (StopAsyncIteration, TimeoutError):
                    return
                except StreamError as err:
                    if not began:
                        raise
                    # A room that goes off the air: what was seen until then counts.
                    print(f"monitor: {redact_url(url)} ended before --seconds: {err}", file=sys.stderr)
                    return
                began = True
                yield frame


def _refuse_unparsable(url: str) -> None:
    from monitor.errors import MonitorError

    try:
        _ = urlsplit(url).port
    except ValueError as err:
        # What the parser says can repeat a part of the address, and that a key.
        raise MonitorError("the address cannot be read: its host or port is not valid") from err


@asynccontextmanager
async def _reach(config: MonitorConfig) -> AsyncGenerator[Reach, None]:
    from concurrent.futures import ThreadPoolExecutor

    from monitor.clock import SystemClock
    from monitor.streams.guard import AddressGuard
    from monitor.streams.http import GuardedHttp
    from monitor.streams.reach import Reach

    guard = AddressGuard(config.network)
    with ThreadPoolExecutor(1, "demux") as demuxers:
        async with GuardedHttp(guard, open_timeout_s=config.streams.open_timeout_s) as http:
            yield Reach(guard=guard, http=http, demuxers=demuxers, config=config.streams, clock=SystemClock())


@asynccontextmanager
async def _scanner(
    args: argparse.Namespace, config: MonitorConfig, progress: Progress
) -> AsyncGenerator[Scanner, None]:
    """The pool and the gallery, ready; embeddings that the daemon has stored are used, none is written."""
    from prometheus_client import CollectorRegistry

    from monitor.cli.reference_cache import stored_references
    from monitor.cli.scanner import Scanner
    from monitor.clock import SystemClock
    from monitor.errors import GalleryError
    from monitor.faces.metrics import FacesMetrics
    from monitor.faces.pool import VisionPool
    from monitor.gallery.calibration_file import calibration_of
    from monitor.gallery.gallery import Gallery
    from monitor.gallery.metrics import GalleryMetrics
    from monitor.sightings.evidence_limit import sized_test

    folder = args.gallery or config.gallery.folder
    registry = CollectorRegistry()
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(stored_references(config))
        pool = VisionPool(config.faces, FacesMetrics(registry))
        stack.push_async_callback(pool.aclose)
        await pool.start()
        gallery = Gallery(folder, pool, store, config.gallery, SystemClock(), GalleryMetrics(registry))
        enrolling = progress.add_task("enrolling", total=None)
        snapshot = await gallery.sync(
            lambda done, count, photo: progress.update(enrolling, total=count, completed=done, description=photo)
        )
        progress.remove_task(enrolling)
        for problem in (*map(str, snapshot.errors), *map(_refusal, snapshot.refused)):
            print(f"monitor: gallery: {problem}", file=sys.stderr)
        if not snapshot.references:
            raise GalleryError(f"{folder}: no identity with an accepted photo; there is nobody to look for")
        test = sized_test(calibration_of(pool.pack, config.gallery.calibration_file), config.sightings)
        # Nobody waits for the next room: every face of every picture is compared.
        sightings = config.sightings.model_copy(update={"reembed_interval_s": 0.0})
        yield Scanner(pool, snapshot, sightings, test, _judge(args, snapshot))


def _refusal(photo: RefusedPhoto) -> str:
    return f"{photo.identity_id}/{photo.photo} refused: {photo.reason}: {photo.detail}"


def _judge(args: argparse.Namespace, snapshot: GallerySnapshot) -> Judge | None:
    """With an account: what its permissions say of a live room of it, now."""
    if args.account is None:
        return None
    from datetime import UTC, datetime

    from monitor.incidents.rules import Showing, decide
    from monitor.streams.stream import Stream

    stream = Stream(id="scan", url="", platform=args.platform, account=args.account, room="scan")

    def judge(identity_id: str) -> str:
        permissions = snapshot.identities[identity_id].permissions
        now = datetime.now(UTC)
        showing = Showing(room=stream.room, kind=stream.kind, first_seen=now, last_seen=now)
        return decide(permissions, stream=stream, now=now, showing=showing).decision

    return judge


def _progress() -> Progress:
    """A bar on a terminal's stderr; nothing elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description:.40}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(
        *columns,
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
        transient=True,
        redirect_stdout=False,
    )


def _in_words(row: dict[str, Any]) -> str:
    if "error" in row:
        return f"{row['input']}: cannot be scanned: {row['error']}"
    head = f"{row['input']}: {row['seconds']:.1f} s, {row['frames']} pictures, {row['faces']} faces"
    if not row["sightings"]:
        return f"{head}: nobody protected"
    return "\n".join(
        [head]
        + [
            f"  {found['identity']}  similarity {found['similarity']:.2f}  margin {found['margin']:.2f}  "
            f"{found['first_seen']:.1f}-{found['last_seen']:.1f} s  {found['frames']} pictures  "
            f"face {found['face_height_px']:.0f} px  {found['verdict']}"
            + (f"  {found['presence']}" if found["presence"] else "")
            for found in row["sightings"]
        ]
    )
