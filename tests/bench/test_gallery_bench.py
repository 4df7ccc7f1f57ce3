"""``monitor bench gallery``: what it prints, that its faces are like faces, and which aims a row misses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from monitor.bench import gallery
from monitor.bench.gallery_change import measure_change
from monitor.bench.gallery_faces import REFERENCES_EACH, make_crowd
from monitor.bench.gallery_row import Change, GalleryRow, Recall, Searches, Stored
from monitor.cli.main import main
from monitor.gallery import index as index_module
from monitor.gallery.matcher import Matcher

TINY = gallery.Plan(sizes=(200, 2_000), dimension=64, probes=2 * gallery.BATCH, singles=20, stored=50)
ROW = GalleryRow(
    references=1_000_000,
    dimension=512,
    index="rabitq",
    is_chosen=True,
    batch=1,
    searches=Searches(p50_ms=8.0, p99_ms=12.0, cpu_ms=8.0, count=400),
    recall=Recall(all=0.9995, mated=1.0, best_identity=1.0),
    nbytes=72_000_000,
    build_s=9.0,
    resident_bytes=2_500_000_000,
    change=Change(seconds=20.0, searches=700, dropped=0, worst_ms=150.0, loop_lag_ms=20.0),
    stored=Stored(references=1000, save_ms=1.5, load_ms=0.03),
)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Few references, and the larger gallery beyond the bound of exact search."""
    monkeypatch.setattr(gallery, "QUICK", TINY)
    monkeypatch.setattr(index_module, "EXACT_UP_TO_BYTES", 500 * 64 * 4)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


@pytest.mark.usefixtures("tiny")
def test_json_has_rows_for_each_size_index_and_batch_whose_figures_are_in_order(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "gallery", "--quick", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert list(said) == ["rows"]
    assert [(row["references"], row["index"], row["chosen"], row["batch"]) for row in said["rows"]] == [
        (200, "flat", True, 1),
        (200, "flat", True, 64),
        (2000, "flat", False, 1),
        (2000, "flat", False, 64),
        (2000, "rabitq", True, 1),
        (2000, "rabitq", True, 64),
    ]
    for row in said["rows"]:
        assert 0 < row["p50_ms"] <= row["p99_ms"]
        assert row["searches"] == (20 if row["batch"] == 1 else 2)
        assert 0.99 <= row["recall_at_1"] <= row["recall_at_1_mated"] == row["best_identity_mated"] == 1
        assert row["build_s"] > 0
        assert ("change" in row, "stored" in row) == (row["chosen"], row["chosen"])
        if row["chosen"]:
            assert row["change"]["dropped"] == 0
            assert row["change"]["searches"] > 0
            assert row["change"]["worst_ms"] > 0
            assert row["change"]["loop_lag_ms"] >= 0
            assert row["stored"]["references"] == 50
    assert said["rows"][2]["bytes"] == 2000 * 64 * 4
    assert said["rows"][4]["bytes"] == 2000 * 72
    assert list(tmp_path.glob("monitor-bench-*")) == []


@pytest.mark.usefixtures("tiny")
def test_without_json_a_table_marks_what_the_daemon_takes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    assert main(["bench", "gallery", "--quick"]) == 0
    said = capsys.readouterr().out
    assert "rabitq *" in said
    assert "2,000: the references hold" in said
    assert "0 were dropped" in " ".join(said.split())
    assert "the event loop was held up for" in " ".join(said.split())


def test_the_faces_are_spread_as_faces_are() -> None:
    crowd = make_crowd(10_000, 512, 400)
    photos = np.stack(crowd.embeddings).reshape(-1, REFERENCES_EACH, 512)
    np.testing.assert_allclose(np.linalg.norm(photos, axis=2), 1, atol=1e-5)
    same = np.einsum("nd,nd->n", photos[:, 0], photos[:, 1])
    assert 0.55 < np.percentile(same, 1) < 0.65 < np.median(same) < 0.75 < np.percentile(same, 99) < 0.85
    cosines = photos[:1000, 0] @ photos[1000:2000, 0].T
    assert 0.03 < cosines.mean() < 0.1
    assert 0.05 < cosines.std() < 0.1
    assert np.percentile(cosines, 99) < 0.3
    nearest = crowd.probes @ photos.reshape(-1, 512).T
    assert np.percentile(nearest[crowd.is_mated].max(axis=1), 1) > 0.5
    assert np.percentile(nearest[~crowd.is_mated].max(axis=1), 99) < 0.45


def test_the_faces_are_always_the_same_and_another_seed_gives_others() -> None:
    one, again, other = make_crowd(100, 64, 10), make_crowd(100, 64, 10), make_crowd(100, 64, 10, seed=2)
    assert np.array_equal(one.embeddings, again.embeddings)
    assert np.array_equal(one.probes, again.probes)
    assert not np.allclose(one.embeddings, other.embeddings)


@pytest.mark.parametrize("count", [1, 4, 5, 23])
def test_as_many_references_are_made_as_were_asked_for(count: int) -> None:
    crowd = make_crowd(count, 16, 8)
    assert len(crowd.embeddings) == len(crowd.owners) == count
    assert crowd.owners.max() == (count - 1) // REFERENCES_EACH
    assert crowd.probes.shape == (8, 16)


def test_a_search_without_an_answer_while_the_gallery_changes_counts_as_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    crowd = make_crowd(300, 64, 20)
    references = gallery._references(crowd)
    assert measure_change(references, crowd.probes).dropped == 0
    monkeypatch.setattr(Matcher, "match_all", lambda _self, probes: [None] * len(probes))
    spoilt = measure_change(references, crowd.probes)
    assert spoilt.dropped == spoilt.searches > 0


def test_a_machine_without_the_memory_is_told_before_anything_is_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gallery.psutil, "virtual_memory", lambda: SimpleNamespace(available=4 << 30))
    assert main(["bench", "gallery"]) == 2
    said = capsys.readouterr().err
    assert "1,000,000 references need" in said
    assert "4 GiB are free" in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("option", ["--kind=hls", "--cache-dir=x", "--references=5"])
def test_an_option_of_another_bench_is_refused(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["bench", "gallery", option])
    assert stop.value.code == 2
    assert f"unrecognized arguments: {option}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "missed"),
    [
        ({}, []),
        ({"searches": Searches(p50_ms=8.0, p99_ms=25.0, cpu_ms=8.0, count=9)}, ["p99 above 25 ms"]),
        ({"recall": Recall(all=0.9989, mated=1.0, best_identity=1.0)}, ["recall below 0.999"]),
        (
            {"recall": Recall(all=0.9, mated=0.9, best_identity=1.0)},
            ["recall below 0.999", "mated recall below 0.999"],
        ),
        ({"change": Change(seconds=1.0, searches=9, dropped=1, worst_ms=1.0, loop_lag_ms=1.0)}, ["searches dropped"]),
        (
            {"change": Change(seconds=1.0, searches=9, dropped=0, worst_ms=90.0, loop_lag_ms=50.0)},
            ["event loop held up for 50 ms"],
        ),
    ],
)
def test_a_row_names_the_aims_that_it_misses(change: dict[str, object], missed: list[str]) -> None:
    assert replace(ROW, **change).missed() == missed
