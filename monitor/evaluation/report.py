"""Writes an evaluation as one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import os
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from monitor.errors import MonitorError
from monitor.evaluation.bounds import Rate
from monitor.evaluation.det_svg import det_svg
from monitor.evaluation.openset import det_curve
from monitor.evaluation.outcome import Evaluation

MOST_PICTURES = 120
"""Of wrong outcomes that are shown; the table counts them all."""


def write_report(path: Path, evaluation: Evaluation) -> None:
    """Write the report; the file appears only when it is complete.

    :raises MonitorError: it cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        partial.write_text(rendered(evaluation), encoding="utf-8")
        partial.replace(path)
    except OSError as err:
        raise MonitorError(f"{path}: the report cannot be written: {err.strerror}") from err
    finally:
        partial.unlink(missing_ok=True)


def rendered(evaluation: Evaluation) -> str:
    """The page. All that comes from file names is escaped."""
    environment = Environment(
        loader=PackageLoader("monitor.evaluation", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters.update(percent=percent, bounds=bounds, data_uri=_data_uri)
    curve = det_curve(evaluation.searches)
    threshold = evaluation.pack.similarity_threshold
    return environment.get_template("report.html").render(
        evaluation=evaluation,
        det=Markup(det_svg(curve)) if curve else None,
        tpir=evaluation.searches.tpir(threshold),
        fpir=evaluation.searches.fpir(threshold),
        pictured=evaluation.wrong[:MOST_PICTURES],
    )


def percent(rate: Rate) -> str:
    """The rate in per cent, or a dash."""
    return "-" if rate.value is None else f"{100 * rate.value:.1f} %"


def bounds(rate: Rate) -> str:
    """Its 95 % bounds in per cent, or a dash."""
    low, high = rate.bounds
    return f"{100 * low:.1f} to {100 * high:.1f} %" if rate.trials else "-"


def _data_uri(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")
