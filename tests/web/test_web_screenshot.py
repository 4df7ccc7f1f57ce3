"""A real browser shows the live crop beside the reference."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.site import Browser, make_incident

from monitor.web.site import Site

CHROMIUM = shutil.which("chromium")
LIVE_BGR = (200, 0, 200)
ENROLLED_BGR = (0, 160, 0)

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (Debian package chromium)")


async def screenshot(url: str, folder: Path, size: tuple[int, int], *, dark: bool = False) -> np.ndarray:
    """What a browser window of ``size`` shows, shape (H, W, 3), BGR."""
    picture = folder / "page.png"
    process = await asyncio.create_subprocess_exec(
        str(CHROMIUM),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--hide-scrollbars",
        f"--blink-settings=preferredColorScheme={0 if dark else 1}",
        f"--user-data-dir={folder / 'profile'}",
        f"--window-size={size[0]},{size[1]}",
        f"--screenshot={picture}",
        url,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await asyncio.wait_for(process.wait(), 60)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    shown = cv2.imread(str(picture))
    assert shown is not None, "the browser took no screenshot"
    return shown


def area(shown: np.ndarray, colour: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of what has about this colour."""
    rows, columns = np.nonzero(np.abs(shown.astype(int) - colour).max(axis=2) < 12)
    assert len(rows) > 100, "the picture is not on the page"
    return int(columns.min()), int(rows.min()), int(columns.max()), int(rows.max())


@pytest.fixture
def pictured(site: Site, shelf) -> Site:
    incident = make_incident(manifest_sha256="ab" * 32)
    shelf.incidents = [incident]
    folder = site.evidence_folder / incident.id
    folder.mkdir(parents=True)
    for name, colour in (("crop", LIVE_BGR), ("reference", ENROLLED_BGR), ("frame", (90, 90, 90))):
        cv2.imwrite(str(folder / f"{name}.jpg"), np.full((200, 200, 3), colour, np.uint8))
    return site


@pytest.mark.parametrize(("size", "least_px"), [((1200, 800), 100), ((500, 900), 180)])
async def test_the_live_crop_stands_beside_the_reference_at_the_same_height(
    browser: Browser, pictured: Site, tmp_path: Path, size: tuple[int, int], least_px: int
):
    server = await browser.open(pictured)
    shown = await screenshot(server.url + "/", tmp_path, size)
    live, enrolled = area(shown, LIVE_BGR), area(shown, ENROLLED_BGR)
    assert live[2] < enrolled[0]
    assert (live[1], live[3]) == (enrolled[1], enrolled[3])
    for box in (live, enrolled):
        assert box[2] - box[0] >= least_px
        assert box[2] < size[0]


async def test_the_page_is_dark_where_the_reader_wants_it_dark(browser: Browser, pictured: Site, tmp_path: Path):
    server = await browser.open(pictured)
    grounds = []
    for dark in (False, True):
        folder = tmp_path / str(dark)
        folder.mkdir()
        grounds.append(int((await screenshot(server.url + "/", folder, (800, 600), dark=dark))[300, 2].max()))
    assert grounds[0] > 200
    assert grounds[1] < 60
