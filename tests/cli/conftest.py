"""A folder as an operator has it: settings, rooms, a gallery; and the command run in it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PHOTOS = ROOT / "monitor" / "demo" / "photos"
IDENTITY = """\
name: {en: Barack Obama, zh: 贝拉克·奥巴马}
consent: {basis: public domain sample, date: 2026-01-01, reference: CREDITS.md}
permissions:
  - {platform: demo, account: obama-official, kinds: [live], max_concurrent_rooms: 1}
"""
STREAM = "{id: shop, url: 'rtmp://live.example.org/app/secret-key', platform: demo, account: shop, room: '1'}"


@pytest.fixture
def operator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with valid files; the working directory."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "monitor.yaml").write_text("web: {port: 0}\nfaces: {workers: 1}\n")
    (tmp_path / "config" / "streams.yaml").write_text(f"streams:\n  - {STREAM}\n")
    folder = tmp_path / "celebrity_gallery" / "barack_obama"
    folder.mkdir(parents=True)
    (folder / "identity.yaml").write_text(IDENTITY)
    shutil.copy(PHOTOS / "obama_official_portrait.jpg", folder)
    monkeypatch.chdir(tmp_path)
    # The workers are processes of their own; in a checkout they find the package only by this.
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


@pytest.fixture
def monitor(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs the command in this process: exit code, output, errors."""
    from monitor.cli.main import main

    def run(*argv: str) -> tuple[int, str, str]:
        try:
            code = main(argv)
        except SystemExit as stop:
            code = int(stop.code or 0)
        said = capsys.readouterr()
        return code, said.out, said.err

    return run
