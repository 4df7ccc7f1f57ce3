"""A room that is only a JPEG, replaced again and again, brings an incident like any other."""

from __future__ import annotations

import io
import os
import time
import tomllib
from pathlib import Path

import av
import pytest
from aiohttp import web
from support.daemon import daemon_folder
from support.hls import http_server
from support.waiting import wait_for

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.timeout(120)


def pictures(clip: Path) -> list[bytes]:
    """One JPEG for each half second of the clip."""
    found = []
    with av.open(str(clip)) as container:
        video = container.streams.video[0]
        step = round(float(video.average_rate or 10) / 2)
        for index, frame in enumerate(container.decode(video)):
            if index % step == 0:
                file = io.BytesIO()
                frame.to_image().save(file, "JPEG", quality=88)
                found.append(file.getvalue())
    return found


def register(folder: Path) -> None:
    """Metadata of this checkout as it would be installed: the entry points of pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    metadata = folder / f"likeness_monitor-{project['version']}.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    lines = [
        f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in names.items())
        for group, names in project["entry-points"].items()
    ]
    (metadata / "entry_points.txt").write_text("\n".join(lines))


async def test_a_polled_picture_of_a_protected_person_without_permission_opens_an_incident(
    tmp_path: Path, protected_clip_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(tmp_path / "installed")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "installed"), str(ROOT)]))
    shown, began = pictures(protected_clip_file), time.monotonic()

    async def camera(_: web.Request) -> web.Response:
        return web.Response(body=shown[int((time.monotonic() - began) * 2) % len(shown)])

    async with http_server() as server:
        url = f"snapshot+{server.route('/room.jpg', camera)}?key=s3cret"
        room = {"id": "still", "url": url, "platform": "demo", "account": "clone", "room": "9"}
        async with daemon_folder(
            tmp_path / "daemon", streams=[room], receivers=[{"type": "log", "name": "log"}]
        ) as folder:
            await folder.start()
            await folder.ready()

            async def incident() -> bool:
                found = (await folder.get("/api/v1/incidents"))["incidents"]
                return bool(found) and found[0]["room"] == "9" and found[0]["evidence"] is not None

            await wait_for(incident, timeout_s=30, what="the incident is opened, with its evidence")
            assert (await folder.stream("still"))["state"] == "live"
            assert "s3cret" not in folder.log
