from __future__ import annotations

import subprocess
import sys

import faiss
import numpy as np
import pytest
from support.gallery import reference, unit

from monitor.gallery.index import ReferenceIndex
from monitor.gallery.matcher import Matcher
from monitor.gallery.snapshot import GallerySnapshot


def crowd(count: int, dimension: int, seed: int = 1) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("probes", [1, 7, 19, 20, 64, 249, 300])
def test_a_thousand_references_are_ranked_as_by_brute_force(probes: int) -> None:
    references, asked = crowd(1000, 128), crowd(probes, 128, seed=2)
    cosines, rows = ReferenceIndex(references).search(asked, 5)
    expected = asked @ references.T
    order = np.argsort(-expected, axis=1)[:, :5]
    assert (rows == order).all()
    np.testing.assert_allclose(cosines, np.take_along_axis(expected, order, axis=1), atol=1e-5)


def test_best_and_runner_up_over_a_thousand_references_are_those_of_brute_force() -> None:
    embeddings, asked = crowd(1000, 64), crowd(100, 64, seed=3)
    owners = np.random.default_rng(4).integers(0, 137, 1000)
    matcher = Matcher([reference(f"p{owners[i]}", embeddings[i], f"{i}.jpg") for i in range(1000)])
    for probe, match in zip(asked, matcher.match_all(asked), strict=True):
        similarities = embeddings @ probe
        per_identity = sorted(((similarities[owners == o].max(), f"p{o}") for o in set(owners)), reverse=True)
        assert match is not None
        assert match.runner_up is not None
        assert match.best.identity_id == per_identity[0][1]
        assert match.best.similarity == pytest.approx(per_identity[0][0], abs=1e-5)
        assert match.runner_up.identity_id == per_identity[1][1]
        assert match.margin == pytest.approx(per_identity[0][0] - per_identity[1][0], abs=1e-5)


def test_the_faces_of_a_picture_are_compared_in_one_search_and_each_keeps_its_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ann, bob = unit(1, 8), unit(2, 8)
    people = GallerySnapshot.build({}, [reference("ann", ann), reference("bob", bob)], refused=(), errors=())
    asked: list[int] = []
    search = ReferenceIndex.search
    monkeypatch.setattr(ReferenceIndex, "search", lambda self, *of: asked.append(len(of[0])) or search(self, *of))
    found = people.match_each([None, bob, None, ann, bob])
    assert [match and match.best.identity_id for match in found] == [None, "bob", None, "ann", "bob"]
    assert people.match_each([None]) == [None]
    assert people.match_each([]) == []
    assert asked == [3]


def test_the_runner_up_is_the_next_identity_however_many_photos_the_best_has() -> None:
    ann, bob = unit(1), unit(2)
    matcher = Matcher([*(reference("ann", ann, f"{i}.jpg") for i in range(40)), reference("bob", bob)])
    (match,) = matcher.match_all(ann[np.newaxis])
    assert match is not None
    assert match.best.identity_id == "ann"
    assert match.best.similarity == pytest.approx(1.0)
    assert match.best.similarity <= 1.0
    assert match.runner_up is not None
    assert match.runner_up.identity_id == "bob"


def test_with_one_identity_there_is_no_runner_up_and_the_margin_is_the_similarity() -> None:
    (match,) = Matcher([reference("ann", unit(1)), reference("ann", unit(2), "b.jpg")]).match_all(unit(2)[np.newaxis])
    assert match is not None
    assert match.runner_up is None
    assert match.best.reference.photo == "b.jpg"
    assert match.margin == pytest.approx(1.0)


def test_a_gallery_without_references_matches_nobody() -> None:
    assert Matcher([]).match_all(crowd(3, 16)) == [None, None, None]


def test_no_probes_give_no_matches() -> None:
    assert Matcher([reference("ann", unit(1))]).match_all(np.empty((0, 16), np.float32)) == []


def test_a_probe_of_another_pack_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected \(n, 16\)"):
        Matcher([reference("ann", unit(1))]).match_all(crowd(1, 128))


def test_a_probe_that_is_not_finite_matches_nobody() -> None:
    probe = np.full((1, 16), np.nan, np.float32)
    assert Matcher([reference("ann", unit(1))]).match_all(probe) == [None]


def test_faiss_runs_on_one_thread_and_multiplies_matrices_only_for_several_probes() -> None:
    assert faiss.omp_get_max_threads() == 1
    assert 512 < faiss.cvar.distance_compute_blas_threshold <= 2 * 512


def test_the_nouns_are_imported_without_loading_faiss_or_a_picture_library() -> None:
    code = (
        "import sys, monitor.gallery.identity, monitor.gallery.config, monitor.gallery.store, "
        "monitor.gallery.identity_file, monitor.sightings.sighting; "
        "print([name for name in ('faiss', 'av', 'cv2', 'onnxruntime') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
