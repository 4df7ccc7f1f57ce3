"""Embeddings do not depend on how many are made at once, and are normalised as InsightFace does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from insightface.model_zoo.arcface_onnx import ArcFaceONNX
from onnx import TensorProto, helper, numpy_helper

from monitor.faces.config import FacesConfig
from monitor.faces.embed import MOST_AT_ONCE, Recogniser
from monitor.faces.packs import locate
from monitor.faces.providers import open_session


def _crops(count: int) -> list[np.ndarray]:
    return list(np.random.default_rng(5).integers(0, 256, (count, 112, 112, 3), dtype=np.uint8))


def _tiny_network(path: Path, batch: int | str, last: Sequence[onnx.NodeProto] = ()) -> Path:
    """Without InsightFace's mark of a network that normalises its input itself: one convolution over everything.

    :param last: what makes ``out`` of ``flat``; by default nothing.
    """
    weights = np.random.default_rng(6).normal(size=(16, 3, 112, 112)).astype(np.float32)
    nodes = [helper.make_node("Conv", ["data", "w"], ["c"]), helper.make_node("Flatten", ["c"], ["flat"])]
    nodes += last or [helper.make_node("Identity", ["flat"], ["out"])]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, [batch, 3, 112, 112])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [batch, 16])],
        [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(np.array([1, 16]), "shape")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


@pytest.mark.parametrize("count", [1, MOST_AT_ONCE, MOST_AT_ONCE + 1, 2 * MOST_AT_ONCE + 3])
def test_many_crops_give_what_each_gives_alone(faces_config: FacesConfig, count: int) -> None:
    path = locate(faces_config).recogniser
    recogniser = Recogniser(path, open_session(path, "cpu"))
    crops = _crops(count)
    together = recogniser.embed(crops)
    assert together.shape == (count, recogniser.dimension)
    for index in (0, count // 2, count - 1):
        assert together[index] @ recogniser.embed([crops[index]])[0] >= 0.9999


@pytest.mark.parametrize("batch", ["batch", 1])
def test_a_networks_input_is_normalised_as_insightface_does(tmp_path: Path, batch: int | str) -> None:
    path = _tiny_network(tmp_path / "net.onnx", batch)
    session = open_session(path, "cpu")
    theirs = ArcFaceONNX(model_file=str(path), session=session)
    assert (theirs.input_mean, theirs.input_std) == (127.5, 127.5)
    crops = _crops(3)
    expected = np.concatenate([theirs.get_feat(crop) for crop in crops])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(Recogniser(path, session).embed(crops), expected, atol=1e-5)


def test_a_network_for_one_crop_at_a_time_embeds_several(tmp_path: Path) -> None:
    path = _tiny_network(tmp_path / "net.onnx", 1)
    recogniser = Recogniser(path, open_session(path, "cpu"))
    crops = _crops(3)
    alone = np.concatenate([recogniser.embed([crop]) for crop in crops])
    np.testing.assert_array_equal(recogniser.embed(crops), alone)


def test_embeddings_stay_what_they_were_when_others_are_made(faces_config: FacesConfig) -> None:
    """The input's memory is used again; what was given out is not."""
    path = locate(faces_config).recogniser
    recogniser = Recogniser(path, open_session(path, "cpu"))
    first = recogniser.embed(_crops(1))
    kept = first.copy()
    recogniser.embed([np.zeros((112, 112, 3), np.uint8)])
    np.testing.assert_array_equal(first, kept)


MIXING = [
    helper.make_node("ReduceMean", ["flat"], ["mean"], axes=[0], keepdims=1),
    helper.make_node("Add", ["flat", "mean"], ["out"]),
]
ALWAYS_ONE = [helper.make_node("Reshape", ["flat", "shape"], ["out"])]


@pytest.mark.parametrize("last", [MIXING, ALWAYS_ONE], ids=["mixes", "refuses"])
def test_a_network_that_mixes_or_refuses_batches_is_given_one_crop_at_a_time(
    tmp_path: Path, last: Sequence[onnx.NodeProto], caplog: pytest.LogCaptureFixture
) -> None:
    path = _tiny_network(tmp_path / "net.onnx", "batch", last)
    recogniser = Recogniser(path, open_session(path, "cpu"))
    assert "recogniser_one_at_a_time file=net.onnx" in caplog.text
    crops = _crops(3)
    alone = np.concatenate([recogniser.embed([crop]) for crop in crops])
    np.testing.assert_array_equal(recogniser.embed(crops), alone)
