"""``monitor calibrate``: what a similarity is worth here, from photos or from the daemon's own rooms."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monitor.cli.options import add_config_option, add_json_option

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from monitor.config import MonitorConfig
    from monitor.faces.face import Embedding, PackInfo
    from monitor.gallery.calibration import Calibration
    from monitor.gallery.photo_album import Album
    from monitor.sightings.expectation import Expectation

_PICTURE = "calibration.svg"
_EXAMPLE = (300, 1000)
"""Rooms and people of the example that is always computed."""

_MOST_PAIRS_NAMED = 10


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "calibrate",
        help="measure how alike strangers are, and say what to expect",
        description="Fits how often strangers come how close, writes it where the daemon reads it at its next start, "
        "and says how many false alerts to expect. Without FOLDER it fits to what the daemon counted in its own rooms.",
    )
    parser.add_argument(
        "folder",
        type=Path,
        nargs="?",
        metavar="FOLDER",
        help="photos of people who are not in the gallery: one folder for each, as in LFW",
    )
    parser.add_argument(
        "--show",
        type=Path,
        nargs="?",
        const=Path(_PICTURE),
        metavar="FILE",
        help=f"draw the curves as SVG (default: {_PICTURE}); without FOLDER those in use, and nothing is fitted",
    )
    add_config_option(parser)
    add_json_option(parser)


def run(args: argparse.Namespace) -> int:
    """Fit and write, or show what is in use."""
    from monitor.config import load_config
    from monitor.gallery.calibration_file import write_calibration

    config = load_config(args.config, os.environ)
    path = config.gallery.calibration_file
    fitted = args.folder is not None or args.show is None
    calibration = _fitted(args, config) if fitted else _in_use(config)
    if fitted:
        write_calibration(path, calibration)
    expectations = _expectations(calibration, config)
    if args.show is not None:
        _draw(args.show, calibration, expectations[0])
    if args.json:
        print(json.dumps(_as_json(calibration, config, expectations, path if fitted else None), ensure_ascii=False))
        return 0
    _print(calibration, config, expectations)
    if fitted:
        print(f"written to {path}; a running daemon uses it from its next start")
    if args.show is not None:
        print(f"curves drawn in {args.show}")
    return 0


def _in_use(config: MonitorConfig) -> Calibration:
    from monitor.faces.packs import locate
    from monitor.gallery.calibration_file import calibration_of

    return calibration_of(locate(config.faces), config.gallery.calibration_file)


def _fitted(args: argparse.Namespace, config: MonitorConfig) -> Calibration:
    from monitor.errors import GalleryError
    from monitor.gallery.calibration_fit import fit

    if args.folder is None:
        return _from_traffic(config)
    pack, album, protected = asyncio.run(_measured(args, config))
    for skipped in album.skipped:
        print(f"monitor: skipped {skipped}", file=sys.stderr)
    from monitor.gallery.photo_pairs import alike, observe

    for line in alike(album.people, pack.similarity_threshold)[:_MOST_PAIRS_NAMED]:
        print(f"monitor: one person under two names? {line}", file=sys.stderr)
    observed = observe(album.people, protected)
    source = f"{sum(map(len, album.people.values()))} photos of {len(album.people)} people"
    try:
        return fit(observed, pack, source)
    except GalleryError as err:
        raise GalleryError(f"{args.folder}: {source}: {err}; add more people (33 make 1,056 pairs)") from err


def _from_traffic(config: MonitorConfig) -> Calibration:
    from monitor.errors import GalleryError
    from monitor.faces.packs import locate
    from monitor.gallery.calibration_fit import fit
    from monitor.gallery.stranger_traffic import StrangerTraffic

    files, path = locate(config.faces), config.gallery.traffic_file
    cut = files.thresholds.adjusted(config.faces.similarity_threshold, config.faces.margin).candidate_threshold
    observed = StrangerTraffic.load(path, files.digest, cut).observed()
    try:
        return fit(observed, files, f"strangers in this daemon's own rooms, {len(observed.by_identity)} identities")
    except GalleryError as err:
        raise GalleryError(
            f"{path}: {err}; let the daemon watch longer (it saves every five minutes and when it stops), or name a "
            "folder of photos: monitor calibrate FOLDER"
        ) from err


async def _measured(
    args: argparse.Namespace, config: MonitorConfig
) -> tuple[PackInfo, Album, Mapping[str, Sequence[Embedding]]]:
    """The pack, the folder's faces, and the references of the gallery that the database holds."""
    from prometheus_client import CollectorRegistry

    from monitor.cli.gallery import progress_bar
    from monitor.cli.reference_cache import stored_references
    from monitor.clock import SystemClock
    from monitor.faces.metrics import FacesMetrics
    from monitor.faces.pool import VisionPool
    from monitor.gallery.gallery import Gallery
    from monitor.gallery.metrics import GalleryMetrics
    from monitor.gallery.photo_album import album_photos, read_album

    photos = await asyncio.to_thread(album_photos, args.folder)
    registry = CollectorRegistry()
    pool = VisionPool(config.faces, FacesMetrics(registry))
    with progress_bar(args.json) as progress:
        try:
            await pool.start()
            album = await read_album(photos, pool, progress)
            protected: dict[str, list[Embedding]] = {}
            if config.gallery.folder.is_dir():
                async with stored_references(config) as store:
                    metrics = GalleryMetrics(registry)
                    gallery = Gallery(config.gallery.folder, pool, store, config.gallery, SystemClock(), metrics)
                    for reference in (await gallery.sync(progress)).references:
                        protected.setdefault(reference.identity_id, []).append(reference.embedding)
            return pool.pack, album, protected
        finally:
            await pool.aclose()


def _expectations(calibration: Calibration, config: MonitorConfig) -> list[Expectation]:
    """The configured budget, then the same false alerts with the example's rooms and people."""
    from monitor.sightings.expectation import expect

    own = config.sightings.alert_budget
    example = own.model_copy(update={"rooms": _EXAMPLE[0], "identities": _EXAMPLE[1]})
    weekly = example.model_copy(update={"false_alerts_per_day": 0.4 / 7})
    budgets = [own, *(budget for budget in (example, weekly) if budget != own)]
    return [expect(calibration, config.sightings.model_copy(update={"alert_budget": budget})) for budget in budgets]


def _draw(path: Path, calibration: Calibration, expectation: Expectation) -> None:
    from monitor.gallery.calibration_file import replace_file
    from monitor.sightings.calibration_chart import chart

    replace_file(path, chart(calibration, expectation.similarity_needed))


def _thresholds(config: MonitorConfig) -> float:
    from monitor.faces.packs import locate

    files = locate(config.faces)
    return files.thresholds.adjusted(config.faces.similarity_threshold, config.faces.margin).similarity_threshold


def _as_json(
    calibration: Calibration, config: MonitorConfig, expectations: Sequence[Expectation], written: Path | None
) -> dict[str, Any]:
    from monitor.sightings.expectation import DAYS_A_WEEK, spread_over

    threshold = _thresholds(config)
    spread = spread_over(config.sightings.alert_budget, *_EXAMPLE) * DAYS_A_WEEK
    return {
        "pack": calibration.pack_name,
        "pack_digest": calibration.pack_digest,
        "source": calibration.source,
        "observations": calibration.observations,
        "strangers": {"centre": calibration.strangers.centre, "spread": calibration.strangers.spread},
        "matching": {"centre": calibration.matching.centre, "spread": calibration.matching.spread},
        "persistence": calibration.persistence,
        "identities": len(calibration.identities),
        "similarity_threshold": threshold,
        "false_match_rate_at_threshold": calibration.false_match_rate(threshold),
        "example_false_alerts_per_week": round(spread, 4),
        "rows": [expectation.to_dict() for expectation in expectations],
        "written": str(written) if written else None,
    }


def _print(calibration: Calibration, config: MonitorConfig, expectations: Sequence[Expectation]) -> None:
    from monitor.sightings.expectation import DAYS_A_WEEK, spread_over

    strangers, matching, threshold = calibration.strangers, calibration.matching, _thresholds(config)
    rate = calibration.false_match_rate(threshold)
    print(f"pack {calibration.pack_name}: {calibration.source}")
    if calibration.observations == 0:
        print("nothing was measured here: photos of your own people, or the daemon's own rooms, say more")
    print(f"strangers: similarity {strangers.centre:.2f} on average, spread {strangers.spread:.3f}")
    print(f"the person: similarity {matching.centre:.2f} on average, spread {matching.spread:.2f}")
    print(f"one picture at the threshold of {threshold:.2f}: 1 stranger in {1 / rate:,.0f} reaches it, for each person")
    if calibration.identities:
        print(f"{len(calibration.identities)} identities have figures of their own")
    budget = config.sightings.alert_budget
    spread = spread_over(budget, *_EXAMPLE) * DAYS_A_WEEK
    print(
        f"as configured: at {_EXAMPLE[0]} rooms and {_EXAMPLE[1]:,} people about {_figure(spread)} false alerts a "
        "week, if sightings.alert_budget stays as it is"
    )
    for expectation in expectations:
        print(_sentence(expectation))


def _sentence(expectation: Expectation) -> str:
    from monitor.sightings.expectation import DAYS_A_WEEK

    budget = expectation.budget
    return (
        f"alert_budget of {_figure(budget.false_alerts_per_day)} a day: at {budget.rooms} rooms and "
        f"{budget.identities:,} people about {_figure(budget.false_alerts_per_day * DAYS_A_WEEK)} false alerts a week; "
        f"the fewest pictures need a similarity of {expectation.similarity_needed:.2f}, which "
        f"{expectation.own_share:.0%} of the person's own reach"
    )


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"
