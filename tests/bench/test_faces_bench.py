"""``monitor bench faces``: what it prints, that its figures are in order, and what it refuses."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from monitor.bench import faces as bench
from monitor.bench.faces import Times, measure
from monitor.bench.faces_pictures import CROWD, FACE_PX, HEIGHT, WIDTH, crowded_picture, single_pictures
from monitor.bench.faces_pool import PoolRate, pool_rate
from monitor.bench.faces_row import FaceCost, FacesRow
from monitor.cli.bench_faces import print_faces
from monitor.cli.main import main
from monitor.errors import MonitorError
from monitor.faces import loading
from monitor.faces.config import FacesConfig

ROW = FacesRow(
    provider="openvino",
    precision="float32",
    ours=FaceCost(frame=10.0, face=4.0),
    floor=FaceCost(frame=9.0, face=3.8),
    one_by_one=FaceCost(frame=20.0, face=5.0),
    opencv=FaceCost(frame=50.0, face=25.0),
    p99_ms=12.0,
    pool=PoolRate(workers=2, shared=False, frames_per_s=90.0, p99_ms=44.0),
    min_cosine=0.99999,
)


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


class CountingWay:
    """Takes a fixed time of its own clock for each picture."""

    def __init__(self, clock: list[float], took: list[float], found: list[int]) -> None:
        self._clock, self._took, self._found = clock, took, found

    def look(self, number: int) -> int:
        self._clock[0] += self._took[number]
        return self._found[number]


def test_json_has_a_row_whose_figures_are_in_order(
    cache_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "QUICK_ROUNDS", 5)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    line = ["bench", "faces", "--quick", "--provider", "cpu", "--json", "--cache-dir", str(cache_dir)]
    assert main(line) == 0
    said = json.loads(capsys.readouterr().out)
    assert list(said) == ["rows"]
    (row,) = said["rows"]
    assert row.keys() == ROW.to_dict().keys()
    assert (row["provider"], row["precision"]) == ("cpu", "float32")
    assert 0.8 * row["floor_ms_per_frame"] < row["ms_per_frame"] < row["opencv_ms_per_frame"]
    assert 0 < row["floor_ms_per_face"] < row["opencv_ms_per_face"]
    assert 0.9999 <= row["min_cosine"] <= 1.00001
    assert row["pool_workers"] == 1
    assert row["pool_frames_per_s"] < 1.2 * row["frames_per_s_per_core"]
    # Of the five jobs the one worker's two callers wait for four in turn at the most.
    assert row["pool_frames_per_s"] >= 1000 / row["pool_p99_ms"]
    assert row["frames_per_s_per_core"] == pytest.approx(1000 / row["ms_per_frame"], rel=0.01)


@pytest.mark.parametrize("shared", [False, True])
async def test_workers_that_miss_a_face_end_the_bench(cache_dir: Path, shared: bool) -> None:
    config = FacesConfig(
        provider="cpu", workers=1, cache_dir=cache_dir / "networks", shared_inference=shared, min_det_score=0.65
    )
    assert (await pool_rate(config, single_pictures(), 2)).workers == 1
    with pytest.raises(MonitorError, match="found 0 faces in a picture with one"):
        await pool_rate(config, [np.zeros((HEIGHT, WIDTH, 3), np.uint8)], 2)


def test_the_table_can_be_read_in_eighty_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    print_faces([ROW, replace(ROW, provider="tensorrt", precision="bfloat16", pool=replace(ROW.pool, shared=True))])
    told = capsys.readouterr().out
    assert "…" not in told
    for word in ("Insight", "OpenCV", "next face", "50.0", "1.11", "Aims: met", "one process"):
        assert word in told


def test_a_row_names_the_aims_that_it_misses() -> None:
    assert ROW.missed() == []
    assert replace(ROW, ours=FaceCost(frame=11.0, face=4.0)).missed() == ["above 1.2 x floor"]
    assert replace(ROW, ours=FaceCost(frame=10.0, face=4.6)).missed() == ["a face above 1.2 x floor"]
    slow = replace(ROW, opencv=FaceCost(frame=29.0, face=9.0))
    assert slow.missed() == ["above OpenCV / 3"]
    assert replace(slow, provider="cpu").missed() == []
    inexact = replace(ROW, min_cosine=0.9995)
    assert inexact.missed() == ["cosine under 0.9999"]
    assert replace(inexact, precision="bfloat16").missed() == []


def test_costs_are_medians_and_a_further_face_is_what_the_crowd_takes_more() -> None:
    clock = [0.0]
    ways = {"ours": CountingWay(clock, [0.010, 0.014, 0.012, 0.012 + 0.003 * (CROWD - 1)], [1, 1, 1, CROWD])}
    times = Times.of(ways, 4, 6, lambda: clock[0])
    assert times.cost("ours").frame == pytest.approx(12)
    assert times.cost("ours").face == pytest.approx(3)
    assert times.p99_ms("ours") == pytest.approx(14)


def test_a_way_that_misses_a_face_ends_the_bench() -> None:
    ways = {"opencv": CountingWay([0.0], [1.0, 1.0], [1, CROWD - 1])}
    with pytest.raises(MonitorError, match=rf"opencv found {CROWD - 1} faces in picture 1, expected {CROWD}"):
        Times.of(ways, 2, 1, lambda: 0.0)


def test_the_pictures_show_faces_of_a_presenters_size(cache_dir: Path) -> None:
    analyser = loading.load(FacesConfig(provider="cpu", cache_dir=cache_dir / "networks"))
    for picture, count in [*((single, 1) for single in single_pictures()), (crowded_picture(), CROWD)]:
        assert picture.shape == (HEIGHT, WIDTH, 3)
        faces = analyser.faces(picture)
        assert [face.embedding is not None for face in faces] == [True] * count
        for face in faces:
            assert face.box.height == pytest.approx(FACE_PX, rel=0.35)
            lengths = np.linalg.norm(face.embedding)
            assert lengths == pytest.approx(1, abs=1e-5)


def test_a_provider_that_is_not_there_is_refused(
    cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(MonitorError, match=r"provider cuda is not installed here.*install onnxruntime-gpu"):
        measure(tmp_path, cache_dir=cache_dir, providers=["cuda"], rounds=1)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--provider", "abacus"], "invalid choice: 'abacus' (choose from 'cpu', 'openvino', 'cuda', 'tensorrt')"),
        (["--kind", "hls"], "unrecognized arguments: --kind hls"),
    ],
)
def test_a_wrong_argument_is_refused_and_named(argv: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["bench", "faces", *argv])
    assert stop.value.code == 2
    assert said in capsys.readouterr().err
