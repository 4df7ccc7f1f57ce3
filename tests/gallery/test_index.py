"""Searching very many references: what exact search would say, by codes and exact ranking."""

from __future__ import annotations

import asyncio
import itertools
import statistics
import threading
import timeit
from dataclasses import replace

import faiss
import numpy as np
import pytest
from support.gallery import reference
from support.waiting import wait_for

from monitor.bench.gallery_faces import Crowd, make_crowd
from monitor.gallery import index as index_module
from monitor.gallery.coded_index import LEAST_CANDIDATES, CodedIndex
from monitor.gallery.embedding_blocks import side_by_side
from monitor.gallery.identity import Reference
from monitor.gallery.index import ReferenceIndex
from monitor.gallery.matcher import Matcher

DEPTH = 6


@pytest.fixture(scope="module")
def crowd() -> Crowd:
    return make_crowd(30_000, 128, 1_000)


@pytest.fixture(scope="module")
def coded(crowd: Crowd) -> CodedIndex:
    return CodedIndex(crowd.embeddings)


@pytest.fixture
def small_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than 500 references of 64 dimensions count as very many."""
    monkeypatch.setattr(index_module, "EXACT_UP_TO_BYTES", 500 * 64 * 4)


@pytest.fixture(scope="module")
def found(crowd: Crowd, coded: CodedIndex) -> tuple[np.ndarray, np.ndarray]:
    """Cosines and rows that the codes lead to, of every probe."""
    return coded.search(crowd.probes, DEPTH)


def brute_force(crowd: Crowd) -> np.ndarray:
    return crowd.probes @ np.stack(crowd.embeddings).T


@pytest.mark.parametrize(("count", "kind"), [(1, "flat"), (499, "flat"), (500, "flat"), (501, "rabitq")])
@pytest.mark.usefixtures("small_bound")
def test_references_up_to_the_bound_are_searched_exactly(count: int, kind: str) -> None:
    crowd = make_crowd(count, 64, 20)
    index = ReferenceIndex(crowd.embeddings)
    assert index.kind == kind
    if kind == "flat":
        cosines, rows = index.search(crowd.probes, DEPTH)
        expected = brute_force(crowd)
        assert (rows == np.argsort(-expected, axis=1)[:, :DEPTH]).all()
        np.testing.assert_allclose(cosines, -np.sort(-expected, axis=1)[:, :DEPTH], atol=1e-6)


def test_a_gallery_of_thirty_thousand_photos_of_the_default_pack_is_searched_exactly(crowd: Crowd) -> None:
    assert ReferenceIndex(crowd.embeddings).kind == "flat"


def test_beyond_the_bound_mated_probes_find_what_exact_search_finds_and_strangers_nearly_always(
    crowd: Crowd, found: tuple[np.ndarray, np.ndarray]
) -> None:
    expected = brute_force(crowd)
    cosines, rows = found
    right = rows[:, 0] == expected.argmax(axis=1)
    assert right[crowd.is_mated].all()
    assert right.mean() >= 0.995
    # Where a stranger's nearest reference is missed, the one that is found is as good as that.
    assert (expected.max(axis=1) - cosines[:, 0]).max() < 0.05


def test_beyond_the_bound_similarities_are_exact_and_in_order(
    crowd: Crowd, found: tuple[np.ndarray, np.ndarray]
) -> None:
    cosines, rows = found
    assert cosines.shape == rows.shape == (len(crowd.probes), DEPTH)
    np.testing.assert_allclose(cosines, np.take_along_axis(brute_force(crowd), rows, axis=1), atol=1e-6)
    assert (np.diff(cosines, axis=1) <= 0).all()


def test_a_batch_says_what_single_searches_say(
    crowd: Crowd, coded: CodedIndex, found: tuple[np.ndarray, np.ndarray]
) -> None:
    singly = [coded.search(probe[np.newaxis], DEPTH)[1][0] for probe in crowd.probes[:64]]
    assert (found[1][:64] == np.stack(singly)).all()


def test_the_same_references_give_the_same_answers(
    crowd: Crowd, coded: CodedIndex, found: tuple[np.ndarray, np.ndarray]
) -> None:
    again = CodedIndex([one.copy() for one in crowd.embeddings])
    assert again.nbytes == coded.nbytes == 30_000 * 72
    cosines, rows = again.search(crowd.probes[:200], DEPTH)
    assert (rows == found[1][:200]).all()
    assert (cosines == found[0][:200]).all()


def test_a_changed_gallery_is_searched_as_if_it_was_built_anew(crowd: Crowd, coded: CodedIndex) -> None:
    """Every hundredth photo goes, others come, and the order changes."""
    new = make_crowd(300, 128, 100, seed=9)
    embeddings = [*new.embeddings, *(one for row, one in enumerate(crowd.embeddings[::-1]) if row % 100)]
    changed = CodedIndex(embeddings, coded)
    probes = np.concatenate([crowd.probes[:200], new.probes])
    cosines, rows = changed.search(probes, DEPTH)
    expected = probes @ np.stack(embeddings).T
    mated = np.concatenate([crowd.is_mated[:200], new.is_mated])
    np.testing.assert_allclose(cosines, np.take_along_axis(expected, rows, axis=1), atol=1e-6)
    assert (rows[mated, 0] == expected[mated].argmax(axis=1)).all()
    assert (rows[:, 0] == expected.argmax(axis=1)).mean() >= 0.99


def test_only_new_photos_are_encoded_again(crowd: Crowd, coded: CodedIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[int] = []
    encode = faiss.IndexRaBitQ.sa_encode

    def counted(index: object, rows: np.ndarray) -> np.ndarray:
        encoded.append(len(rows))
        return encode(index, rows)

    monkeypatch.setattr(faiss.IndexRaBitQ, "sa_encode", counted)
    new = make_crowd(300, 128, 2, seed=9)
    CodedIndex([*crowd.embeddings[300:], *new.embeddings], coded)
    assert sum(encoded) == 300
    encoded.clear()
    CodedIndex([*crowd.embeddings[20_000:], *make_crowd(12_000, 128, 2, seed=9).embeddings], coded)
    assert sum(encoded) == 22_000


@pytest.mark.usefixtures("small_bound")
def test_a_gallery_that_grows_or_shrinks_past_the_bound_takes_the_other_index() -> None:
    crowd = make_crowd(1000, 64, 40)
    index, kinds = None, []
    for count in (400, 1000, 900, 400, 700):
        index = ReferenceIndex(crowd.embeddings[:count], index)
        kinds.append(index.kind)
        assert index.search(crowd.embeddings[count - 1][np.newaxis], 1)[1].tolist() == [[count - 1]]
    assert kinds == ["flat", "rabitq", "rabitq", "flat", "rabitq"]
    other = make_crowd(1000, 128, 2)
    assert ReferenceIndex(other.embeddings, index).search(other.embeddings[5][np.newaxis], 1)[1].tolist() == [[5]]


@pytest.mark.usefixtures("small_bound")
@pytest.mark.parametrize("count", [100, 1000])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_probe_that_is_not_finite_finds_nothing_and_spoils_no_other(count: int, value: float) -> None:
    crowd = make_crowd(count, 64, 6)
    index = ReferenceIndex(crowd.embeddings)
    spoilt = crowd.probes.copy()
    spoilt[2, 7] = value
    cosines, rows = index.search(spoilt, DEPTH)
    expected_cosines, expected = index.search(crowd.probes, DEPTH)
    assert (rows[2] == -1).all()
    assert np.isfinite(cosines).all()
    others = [0, 1, 3, 4, 5]
    assert (rows[others] == expected[others]).all()
    np.testing.assert_allclose(cosines[others], expected_cosines[others], atol=1e-6)


@pytest.mark.usefixtures("small_bound")
@pytest.mark.parametrize("count", [100, 1000])
def test_no_probes_give_no_rows(count: int) -> None:
    cosines, rows = ReferenceIndex(make_crowd(count, 64, 2).embeddings).search(np.empty((0, 64), np.float32), DEPTH)
    assert cosines.shape == rows.shape == (0, DEPTH)


@pytest.mark.usefixtures("small_bound")
def test_references_that_are_alike_are_all_found_the_first_one_first() -> None:
    crowd = make_crowd(1000, 64, 2)
    alike = (7, 300, 999)
    embeddings = list(crowd.embeddings)
    for row in alike:
        embeddings[row] = embeddings[7]
    index = ReferenceIndex(embeddings)
    cosines, rows = index.search(embeddings[7][np.newaxis], len(alike))
    assert index.kind == "rabitq"
    assert rows.tolist() == [list(alike)]
    np.testing.assert_allclose(cosines, 1, atol=1e-6)


@pytest.mark.parametrize(
    "embeddings",
    [[], [np.zeros(4, np.float32), np.zeros(5, np.float32)], [np.float32(1)], [np.zeros(4)], [np.zeros(8, "f4")[::2]]],
    ids=["none", "two shapes", "a number", "float64", "not contiguous"],
)
def test_embeddings_of_no_common_shape_or_not_of_contiguous_float32_are_refused(embeddings: list[np.ndarray]) -> None:
    with pytest.raises(ValueError, match=r"expected one shape \(D,\)"):
        ReferenceIndex(embeddings)


def test_putting_embeddings_side_by_side_does_not_wait_for_a_busy_thread_again_and_again() -> None:
    embeddings = list(np.random.default_rng(5).random((5000, 512), np.float32))
    stopped = threading.Event()
    busy = threading.Thread(target=lambda: all(not stopped.is_set() for _ in itertools.count()))
    busy.start()
    try:
        # Waiting once for each of them takes over a second where a core is idle.
        took = statistics.median(timeit.repeat(lambda: side_by_side(embeddings), number=1, repeat=9))
    finally:
        stopped.set()
        busy.join()
    assert took < 0.2
    assert (side_by_side(embeddings) == np.stack(embeddings)).all()


def owned(crowd: Crowd) -> list[Reference]:
    pairs = zip(crowd.owners.tolist(), crowd.embeddings, strict=True)
    return [reference(f"p{owner:05}", embedding, f"{row}.jpg") for row, (owner, embedding) in enumerate(pairs)]


@pytest.mark.usefixtures("small_bound")
def test_among_very_many_the_runner_up_is_of_another_identity_however_many_photos_the_best_has() -> None:
    crowd = make_crowd(4000, 64, 40)
    # One person has more photos than there are candidates, and each of them is nearer than anybody else.
    many = LEAST_CANDIDATES + 500
    random = np.random.default_rng(5)
    near = crowd.embeddings[0] + 0.02 * random.standard_normal((many, 64), dtype=np.float32)
    near /= np.linalg.norm(near, axis=1, keepdims=True)
    references = [*owned(crowd), *(reference("p00000", one, f"near{number}.jpg") for number, one in enumerate(near))]
    matcher = Matcher(references)
    everybody = np.stack([one.embedding for one in references])
    others = np.array([one.identity_id != "p00000" for one in references])
    for probe, match in zip(near[:20], matcher.match_all(near[:20]), strict=True):
        cosines = everybody @ probe
        assert match is not None
        assert match.best.identity_id == "p00000"
        assert match.best.similarity == pytest.approx(cosines.max(), abs=1e-6)
        assert match.runner_up is not None
        assert match.runner_up.identity_id != "p00000"
        assert match.runner_up.similarity == pytest.approx(cosines[others].max(), abs=0.1)


@pytest.mark.usefixtures("small_bound")
async def test_searches_during_swaps_are_all_answered_each_by_one_gallery() -> None:
    """Two galleries of different people in turn, each with the same faces; a mixture would name the wrong people."""
    crowd = make_crowd(3000, 64, 8)
    first = owned(crowd)
    second = [replace(one, identity_id=f"new-{one.identity_id}") for one in first[:2500]]
    in_use = [Matcher(first)]
    swapped, answered, problems = threading.Event(), [0], []

    def search() -> None:
        while not swapped.is_set():
            matcher = in_use[0]
            matches = matcher.match_all(crowd.probes)
            names = {match.best.identity_id.startswith("new-") for match in matches if match is not None}
            if None in matches or len(names) != 1:
                problems.append(names)
            answered[0] += 1

    threads = [threading.Thread(target=search) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for round_ in range(10):
            before = answered[0]
            in_use[0] = await asyncio.to_thread(Matcher, second if round_ % 2 else first, in_use[0])
            await wait_for(lambda before=before: answered[0] > before + 1, timeout_s=30, what="searches go on")
    finally:
        swapped.set()
        for thread in threads:
            thread.join()
    assert problems == []
