"""``monitor bench ingest``: what it prints, that its figures are in order, and that nothing is left behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from aiohttp import ClientSession
from support.waiting import wait_for

from monitor.bench import ingest
from monitor.bench.child_process import child_process
from monitor.bench.ingest_clips import RENDITIONS, make_renditions
from monitor.bench.ingest_row import Cost, IngestRow, Traffic
from monitor.cli.main import main
from monitor.errors import MonitorError

ROOT = Path(__file__).parents[2]
TINY = ingest.Plan(
    intervals_s=(2.0,),
    streams=8,
    most_streams=12,
    counted=2,
    opencv=1,
    warm_s=1.0,
    window_s=12.0,
    opencv_s=4.0,
    settle_s=1.0,
    together=True,
)
ROW = IngestRow(
    kind="hls",
    height=720,
    interval_s=10.0,
    streams=60,
    cpu=Cost(ours=0.001, floor=0.0009, opencv=0.05),
    traffic=Traffic(ours=8_000, libav_master=450_000),
    rss_bytes=300_000,
    most_streams=500,
)


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def processes_of(folder: Path) -> list[psutil.Process]:
    """Running processes that were told to keep their files in ``folder``."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("TMPDIR") == str(folder) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def left_in(folder: Path) -> list[Path]:
    """Temporary folders of benches."""
    return list(folder.glob("monitor-bench-*"))


def start(folder: Path, cache_dir: Path) -> subprocess.Popen[str]:
    """The command, with ``folder`` for its temporary files."""
    line = [sys.executable, "-m", "monitor.cli.main", "bench", "ingest", "--quick", "--cache-dir", str(cache_dir)]
    environ = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(folder)}
    return subprocess.Popen(line, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_json_has_a_row_for_each_kind_whose_figures_are_in_order(
    cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ingest, "QUICK", TINY)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert main(["bench", "ingest", "--quick", "--json", "--cache-dir", str(cache_dir)]) == 0
    said = json.loads(capsys.readouterr().out)
    assert list(said) == ["rows"]
    assert [(row["kind"], row["height"], row["interval_s"], row["streams"]) for row in said["rows"]] == [
        ("hls", 720, 2.0, 8),
        ("rtmp", 720, 2.0, 8),
    ]
    for row in said["rows"]:
        assert row.keys() == ROW.to_dict().keys()
        cpu, sent = row["cpu_s_per_stream_s"], row["bytes_per_stream_s"]
        # CPU is told in hundredths of a second, and the floor takes less than half a second in so short a window.
        assert 0 < cpu["floor"] <= 1.1 * cpu["ours"]
        assert cpu["ours"] < cpu["opencv"]
        assert 0 < sent["ours"] <= 1.2 * sent["libav_master"]
        assert isinstance(row["rss_bytes_per_stream"], int)
    hls = said["rows"][0]["bytes_per_stream_s"]
    # All three renditions, and no more than the muxing adds.
    rate = sum(one.bit_rate for one in RENDITIONS) / 8
    assert 0.6 * rate < hls["libav_master"] < 1.6 * rate
    assert hls["ours"] < hls["libav_master"] / 2
    assert left_in(tmp_path) == []


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--kind", "srt"], "invalid choice: 'srt' (choose from 'hls', 'rtmp')"),
        (["--streams", "9"], "unrecognized arguments: --streams 9"),
        (["--cache-dir"], "argument --cache-dir: expected one argument"),
    ],
)
def test_a_wrong_argument_is_refused_and_named(argv: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["bench", "ingest", *argv])
    assert stop.value.code == 2
    assert said in capsys.readouterr().err


def test_a_cache_that_is_no_folder_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["bench", "ingest", "--quick", "--cache-dir", str(tmp_path / "file")]) == 2
    said = capsys.readouterr().err
    assert said.startswith("monitor: clip ingest-")
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
async def test_an_interrupted_bench_leaves_no_process(number: signal.Signals, cache_dir: Path, tmp_path: Path) -> None:
    bench = start(tmp_path, cache_dir)
    try:
        # Itself, the publisher, and the probes of more than one row.
        await wait_for(lambda: len(processes_of(tmp_path)) > 6, timeout_s=120, what="the bench has started processes")
    finally:
        bench.send_signal(number)
    said = await asyncio.to_thread(bench.communicate)
    await wait_for(lambda: not processes_of(tmp_path), timeout_s=90, what="all processes have ended")
    if number is signal.SIGINT:
        assert (bench.returncode, *said) == (130, "", "")
        assert left_in(tmp_path) == []


async def test_only_what_a_viewer_asked_for_is_counted_to_its_group(cache_dir: Path, tmp_path: Path) -> None:
    clips = await make_renditions(cache_dir)
    wanted = {"clips": {height: str(path) for height, path in clips.items()}, "rtmp_groups": []}
    async with (
        child_process("publisher", "monitor.bench.ingest_publisher", folder=tmp_path) as publisher,
        ClientSession() as session,
    ):
        base = (await publisher.ask(wanted))["http"]
        async with session.get(f"{base}/one/3/720/index.m3u8") as answer:
            name = (await answer.text()).splitlines()[-1]
        async with session.get(f"{base}/two/3/720/{name}", headers={"Range": "bytes=188-1187"}) as answer:
            assert answer.status == 206
            part = await answer.read()
        async with session.get(f"{base}/sent") as answer:
            sent = await answer.json()
        async with session.get(f"{base}/one/3/720/{name}") as answer:
            assert (await answer.read())[188:1188] == part
    assert 1000 < sent["two"] < 1400
    assert sent.keys() == {"one", "two"}


async def test_a_process_that_ends_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    async with child_process("probe", "monitor.bench.ingest_probe", "nobody", folder=tmp_path) as probe:
        with pytest.raises(MonitorError, match="probe ended: KeyError: 'nobody'"):
            await probe.ask({"do": "snapshot"})


@pytest.mark.parametrize(
    ("change", "missed"),
    [
        ({}, []),
        ({"interval_s": 2.0, "cpu": Cost(ours=0.0012, floor=0.001, opencv=0.05)}, ["CPU above 1.15 x floor"]),
        ({"cpu": Cost(ours=0.0012, floor=0.001, opencv=0.05)}, []),
        ({"cpu": Cost(ours=0.01, floor=0.01, opencv=0.05)}, ["CPU above OpenCV / 8"]),
        ({"traffic": Traffic(ours=10_000, libav_master=450_000)}, ["bytes above libav / 50"]),
        ({"kind": "rtmp", "traffic": Traffic(ours=220_000, libav_master=220_000)}, []),
        ({"rss_bytes": 1 << 20}, ["memory above 1 MiB"]),
    ],
)
def test_a_row_names_the_aims_that_it_misses(change: dict[str, object], missed: list[str]) -> None:
    fields = {name: getattr(ROW, name) for name in IngestRow.__dataclass_fields__}
    assert IngestRow(**{**fields, **change}).missed() == missed
