"""The README's tables of settings and metrics, as the code has them.

PYTHONPATH=.:tests python tests/support/readme_tables.py writes them into README.md.
"""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
from pydantic import BaseModel

from monitor.config import MonitorConfig
from monitor.daemon import running_daemon

README = Path(__file__).parents[2] / "README.md"


def settings_rows() -> list[str]:
    """A row for each setting: key, default, description."""
    return ["| setting | default | what it is |", "|---|---|---|", *_rows(MonitorConfig(), "")]


def _rows(values: BaseModel, prefix: str) -> Iterator[str]:
    for name, field in type(values).model_fields.items():
        value = getattr(values, name)
        if isinstance(value, BaseModel):
            yield from _rows(value, f"{prefix}{name}.")
        else:
            yield f"| `{prefix}{name}` | {_default(field.default, value)} | {field.description} |"


def _default(declared: Any, value: Any) -> str:
    if isinstance(value, tuple):
        if not value:
            return "none"
        return "log" if isinstance(value[0], BaseModel) else f"`[{', '.join(map(str, value))}]`"
    if declared is None:
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def metrics_rows() -> list[str]:
    """A row for each metric of a running daemon: name, type, labels, help."""
    text = asyncio.run(_scrape())
    kinds = dict(re.findall(r"^# TYPE (monitor_\w+) (\w+)$", text, re.MULTILINE))
    helps = re.findall(r"^# HELP (monitor_\w+) (.*)$", text, re.MULTILINE)
    rows = [f"| `{name}` | {kinds[name]} | {said} |" for name, said in sorted(helps) if not name.endswith("_created")]
    return ["| metric | type | what it says |", "|---|---|---|", *rows]


async def _scrape() -> str:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "gallery").mkdir()
        config = MonitorConfig.model_validate(
            {
                "data_dir": folder,
                "gallery": {
                    "folder": f"{folder}/gallery",
                    "calibration_file": f"{folder}/calibration.json",
                    "traffic_file": f"{folder}/stranger_traffic.json",
                },
                "evidence": {"folder": f"{folder}/evidence"},
                "storage": {"url": f"sqlite:///{folder}/monitor.db"},
                "faces": {"workers": 1, "cache_dir": f"{folder}/cache"},
                "web": {"port": 0},
            }
        )
        async with (
            running_daemon(config, []) as daemon,
            aiohttp.ClientSession() as session,
            session.get(f"{daemon.url}/metrics") as answer,
        ):
            return await answer.text()


def written(readme: str, name: str, rows: list[str]) -> str:
    """``readme`` with the table between ``<!-- name -->`` and ``<!-- /name -->`` replaced."""
    table = "\n".join(rows)
    pattern = rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)"
    return re.sub(pattern, lambda match: f"{match[1]}{table}\n{match[2]}", readme, flags=re.DOTALL)


def main() -> None:
    """Write both tables."""
    text = README.read_text()
    text = written(text, "settings", settings_rows())
    README.write_text(written(text, "metrics", metrics_rows()))


if __name__ == "__main__":
    main()
