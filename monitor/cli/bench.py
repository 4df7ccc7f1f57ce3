"""``monitor bench``: measures on this machine; nothing leaves loopback."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monitor.cli.options import add_cache_option, add_json_option

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from monitor.bench.ingest_row import IngestRow
    from monitor.bench.latency import LatencyRow

Row = dict[str, Any]
"""One row as ``--json`` prints it."""

_KINDS = ("rtmp", "http-flv", "hls")
_QUICK_ROOMS = 5
_ROOMS = 20
_INGEST_KINDS = ("hls", "rtmp")
_PROVIDERS = ("cpu", "openvino", "cuda", "tensorrt")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = subparsers.add_parser("bench", help="measure latency and cost", description=__doc__)
    benches = parser.add_subparsers(dest="bench", metavar="BENCH", required=True)
    line = "seconds from the first picture with a protected face to the delivered webhook, over live rooms on loopback"
    latency = benches.add_parser("latency", help=line, description=line[0].upper() + line[1:] + ".")
    latency.add_argument("--quick", action="store_true", help=f"{_QUICK_ROOMS} rooms of each kind instead of {_ROOMS}")
    latency.add_argument("--kind", choices=_KINDS, action="append", help="only this kind; may be repeated")
    line = "CPU, bytes and memory of watching a 720p room, beside keyframe decode alone and cv2.VideoCapture"
    ingest = benches.add_parser("ingest", help=line, description=line + ", over live rooms on loopback.")
    ingest.add_argument("--quick", action="store_true", help="few rooms, all rows at once: within a minute")
    ingest.add_argument("--kind", choices=_INGEST_KINDS, action="append", help="only this kind; may be repeated")
    line = "what a search costs among 1,000, 100,000 and a million references, and its recall against exact search"
    gallery = benches.add_parser("gallery", help=line, description=line[0].upper() + line[1:] + ".")
    gallery.add_argument("--quick", action="store_true", help="up to 100,000 references: within a minute")
    line = "CPU of finding and embedding faces in 720p pictures, beside the bare networks, InsightFace and OpenCV"
    faces = benches.add_parser("faces", help=line, description=line + ".")
    faces.add_argument("--quick", action="store_true", help="fewer rounds: within a minute")
    faces.add_argument("--provider", choices=_PROVIDERS, action="append", help="only this one; may be repeated")
    faces.add_argument(
        "--shared-inference", action="store_true", help="one process runs the networks for all workers, on the CPU too"
    )
    for bench in (latency, ingest, faces):
        add_cache_option(bench)
    for bench in (latency, ingest, faces, gallery):
        add_json_option(bench)


def run(args: argparse.Namespace) -> int:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="monitor-bench-") as folder:
        measure = {"latency": _latency, "ingest": _ingest, "faces": _faces, "gallery": _gallery}[args.bench]
        rows, show = measure(args, Path(folder))
    if args.json:
        print(json.dumps({"rows": rows}))
    else:
        show()
    return 0


def _latency(args: argparse.Namespace, folder: Path) -> tuple[list[Row], Callable[[], None]]:
    from monitor.bench.latency import measure

    rooms = _QUICK_ROOMS if args.quick else _ROOMS
    kinds = args.kind or _KINDS
    rows = asyncio.run(measure(folder, cache_dir=args.cache_dir, rooms=rooms, kinds=kinds, progress=_alerts()))
    return [row.to_dict() for row in rows], lambda: _print_latency(rows)


def _ingest(args: argparse.Namespace, folder: Path) -> tuple[list[Row], Callable[[], None]]:
    import dataclasses

    from monitor.bench.ingest import QUICK, full_plan, measure

    plan = QUICK if args.quick else full_plan()
    if args.kind:
        plan = dataclasses.replace(plan, kinds=tuple(dict.fromkeys(args.kind)))
    rows = asyncio.run(measure(folder, cache_dir=args.cache_dir, plan=plan, progress=_steps()))
    return [row.to_dict() for row in rows], lambda: _print_ingest(rows)


def _faces(args: argparse.Namespace, folder: Path) -> tuple[list[Row], Callable[[], None]]:
    from monitor.bench.faces import QUICK_ROUNDS, ROUNDS, measure
    from monitor.cli.bench_faces import print_faces
    from monitor.faces.providers import available

    rows = measure(
        folder,
        cache_dir=args.cache_dir,
        # TensorRT builds its engines for minutes: only where it is asked for.
        providers=args.provider or [name for name in available() if name != "tensorrt"],
        rounds=QUICK_ROUNDS if args.quick else ROUNDS,
        shared_inference=args.shared_inference,
        progress=_steps(),
    )
    return [row.to_dict() for row in rows], lambda: print_faces(rows)


def _gallery(args: argparse.Namespace, folder: Path) -> tuple[list[Row], Callable[[], None]]:
    from monitor.bench.gallery import FULL, QUICK, measure
    from monitor.cli.bench_gallery import bar, show

    with bar() as progress:
        rows = measure(folder, plan=QUICK if args.quick else FULL, progress=progress)
    return [row.to_dict() for row in rows], lambda: show(rows)


def _alerts() -> Callable[[str, int, int], None] | None:
    """A line on a terminal that counts the alerts."""
    if not sys.stderr.isatty():
        return None
    return lambda kind, done, total: print(f"\r{kind}: {done}/{total} alerts ", end="", file=sys.stderr, flush=True)


def _steps() -> Callable[[str], None] | None:
    """A line on a terminal for what is being measured."""
    if not sys.stderr.isatty():
        return None
    return lambda what: print(what, file=sys.stderr, flush=True)


def _print_latency(rows: Sequence[LatencyRow]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("kind", "rooms", "p50 s", "p95 s", "aim p95 s", "", title="first picture with the face -> webhook")
    for row in rows:
        met = "met" if row.p95_s < row.aim_p95_s else "missed"
        figures = (f"{row.p50_s:.2f}", f"{row.p95_s:.2f}", f"{row.aim_p95_s:g}")
        table.add_row(row.kind, str(len(row.seconds)), *figures, met)
    Console().print(table)


def _print_ingest(rows: Sequence[IngestRow]) -> None:
    from rich.console import Console
    from rich.table import Table

    from monitor.bench import ingest_row as aims
    from monitor.bench.machine import describe

    table = Table(title="cost of one 720p room, for each second of it", caption=describe(), caption_justify="left")
    names = ("room", "CPU, ms: ours\n/floor/OpenCV", "ours\n/floor", "OpenCV\n/ours", "kB: ours\n/libav")
    for name in (*names, "libav\n/ours", "KiB\nheld"):
        table.add_column(name, justify="left" if name == "room" else "right", no_wrap=True)
    for row in rows:
        cpu, traffic = row.cpu, row.traffic
        table.add_row(
            f"{row.kind} {row.interval_s:g} s",
            "/".join(f"{1000 * figure:.3g}" for figure in (cpu.ours, cpu.floor, cpu.opencv)),
            f"{cpu.ours / cpu.floor:.2f}",
            f"{cpu.opencv / cpu.ours:.1f}",
            "/".join(f"{figure / 1000:.3g}" for figure in (traffic.ours, traffic.libav_master)),
            f"{traffic.libav_master / traffic.ours:.1f}",
            f"{row.rss_bytes / 1024:.0f}",
        )
    console = Console()
    console.print(table)
    console.print(
        f"Aims: at most {aims.MOST_OF_FLOOR:g} x the floor at {aims.DENSE_S:g} s; at least "
        f"{aims.LEAST_TIMES_CHEAPER:g} x cheaper than OpenCV; HLS at {aims.SPARSE_S:g} s at most "
        f"1/{aims.LEAST_TIMES_FEWER_BYTES:g} of libav's bytes from the same master playlist; under "
        f"{aims.MOST_RSS_BYTES >> 10} KiB a room beside its ring."
    )
    for row in rows:
        found = "; ".join(row.missed()) or "met"
        console.print(
            f"{row.kind} {row.interval_s:g} s, {row.streams} rooms (memory: up to {row.most_streams}): {found}"
        )
