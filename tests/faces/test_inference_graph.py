"""Networks rewritten for batches find and embed what the plain ones do, however many pictures share a batch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from faces.pictures import Picture, room_picture
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from monitor.errors import PackError
from monitor.faces.config import FacesConfig
from monitor.faces.detect import COARSE_SIDE_PX, FINE_SIDE_PX, Detections, fit
from monitor.faces.embed import Recogniser
from monitor.faces.embedded import Embedded
from monitor.faces.inference.bound_network import BoundNetwork
from monitor.faces.inference.candidates import (
    CandidateDetector,
    Candidates,
    scrfd_detections,
    yunet_detections,
)
from monitor.faces.inference.graph import MOST_CANDIDATES, recogniser_graph, scrfd_graph, yunet_graph
from monitor.faces.packs import locate
from monitor.faces.providers import open_session
from monitor.faces.scrfd import ScrfdDetector
from monitor.faces.yunet import YuNet

SIDES = (FINE_SIDE_PX, COARSE_SIDE_PX)


class InProcess:
    """A CandidateNetwork without a process of its own."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.network = bound(model)

    def candidates(self, pictures: Sequence[Picture]) -> list[Candidates]:
        return [self.network.run(np.ascontiguousarray(picture[np.newaxis]))[0] for picture in pictures]


def bound(model: onnx.ModelProto) -> BoundNetwork:
    session: Any = open_session(model.SerializeToString(), "cpu")
    return BoundNetwork(session, "cpu")


@pytest.fixture(scope="module")
def rooms(portraits: dict[str, Picture]) -> list[Picture]:
    """Landscape, portrait, nobody, and two people."""
    one, other = portraits["obama_official_portrait"], portraits["astronaut"]
    empty = np.full((360, 640, 3), 90, np.uint8)
    couple = np.concatenate([room_picture(one)[:, :320], room_picture(other)[:, 160:480]], axis=1)
    return [room_picture(one), np.ascontiguousarray(other[:, 100:400]), empty, couple]


@pytest.fixture(scope="module")
def scrfd_path() -> Path:
    path = Path(__file__).parents[2] / "build/test-models/scrfd.onnx"
    if not path.is_file():
        pytest.skip("no SCRFD network; `make test` fetches one")
    return path


def legacy(model: onnx.ModelProto) -> onnx.ModelProto:
    """As InsightFace's own packs are exported: heads that lay the pictures of a batch between each other."""
    graph = model.graph
    by_output = {node.output[0]: node for node in graph.node}
    for output in graph.output:
        node = by_output[output.name]
        reshape = by_output[node.input[0]] if node.op_type == "Sigmoid" else node
        transpose = by_output[reshape.input[0]]
        del transpose.attribute[:]
        transpose.attribute.append(helper.make_attribute("perm", [2, 3, 0, 1]))
        width = output.type.tensor_type.shape.dim[2].dim_value
        graph.initializer.append(numpy_helper.from_array(np.array([-1, width]), f"{output.name}_flat"))
        reshape.input[1] = f"{output.name}_flat"
        cells = output.type.tensor_type.shape.dim[1].dim_value
        output.CopyFrom(helper.make_tensor_value_info(output.name, onnx.TensorProto.FLOAT, [cells, width]))
    return model


def assert_same(found: Detections, expected: Detections) -> None:
    assert len(found) == len(expected)
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=0.01)
    np.testing.assert_allclose(found.landmarks, expected.landmarks, atol=0.01)
    np.testing.assert_allclose(found.det_scores, expected.det_scores, atol=1e-5)


def test_yunet_with_its_best_cells_only_finds_the_same_faces(faces_config: FacesConfig, rooms: list[Picture]) -> None:
    path = locate(faces_config).detector
    plain = YuNet(open_session(path, "cpu"))
    network = CandidateDetector(InProcess(yunet_graph(onnx.load(path))), yunet_detections, SIDES)
    counts = []
    for room in rooms:
        assert_same(network.detect(room), plain.detect(room))
        counts.append(len(plain.detect(room)))
    assert counts == [1, 1, 0, 2]


@pytest.mark.parametrize("export", [lambda model: model, legacy], ids=["batch first", "as in InsightFace's packs"])
def test_scrfd_with_its_best_cells_only_finds_the_same_faces(
    scrfd_path: Path, rooms: list[Picture], tmp_path: Path, export: Any
) -> None:
    path = tmp_path / "scrfd.onnx"
    onnx.save(export(onnx.load(scrfd_path)), path)
    plain = ScrfdDetector(path, open_session(path, "cpu"))
    rewritten = InProcess(scrfd_graph(onnx.load(path)))
    network = CandidateDetector(rewritten, scrfd_detections, SIDES, fixed_size=(640, 640))
    counts = []
    for room in rooms:
        assert_same(network.detect(room), plain.detect(room))
        counts.append(len(plain.detect(room)))
    assert counts == [1, 1, 0, 2]


@pytest.mark.parametrize("export", [lambda model: model, legacy], ids=["batch first", "as in InsightFace's packs"])
def test_scrfd_says_of_a_picture_in_a_batch_what_it_says_of_it_alone(
    scrfd_path: Path, rooms: list[Picture], export: Any
) -> None:
    network = bound(scrfd_graph(export(onnx.load(scrfd_path))))
    batch = np.stack([fit(room, FINE_SIDE_PX).on_canvas((640, 640)) for room in rooms])
    assert_batch_is_single(network, batch)


@pytest.mark.parametrize("size", [(640, 384), (384, 640), (160, 96), (160, 32)])
def test_yunet_says_of_a_picture_in_a_batch_what_it_says_of_it_alone(
    faces_config: FacesConfig, size: tuple[int, int]
) -> None:
    network = bound(yunet_graph(onnx.load(locate(faces_config).detector)))
    noise = np.random.default_rng(3).integers(0, 256, (3, size[1], size[0], 3), dtype=np.uint8)
    together = assert_batch_is_single(network, noise)
    cells = sum((size[0] // stride) * (size[1] // stride) for stride in (8, 16, 32))
    assert together.shape == (3, min(cells, MOST_CANDIDATES), 16)


def assert_batch_is_single(network: BoundNetwork, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
    together = network.run(batch)
    for picture, found in zip(batch, together, strict=True):
        alone = network.run(picture[np.newaxis])[0]
        np.testing.assert_allclose(found[:, 0], alone[:, 0], atol=1e-5)
        by_cell = {cell: values for _, cell, *values in alone.tolist()}
        shared = [(values, by_cell[cell]) for _, cell, *values in found.tolist() if cell in by_cell]
        assert len(shared) > 0.97 * len(found)
        np.testing.assert_allclose(*zip(*shared, strict=True), atol=1e-3)
    return together


def test_crops_in_a_batch_give_the_vectors_that_insightface_gives(faces_config: FacesConfig) -> None:
    path = locate(faces_config).recogniser
    plain = Recogniser(path, open_session(path, "cpu"))
    network = bound(recogniser_graph(onnx.load(path), mean=plain.mean, std=plain.std))
    crops = np.random.default_rng(5).integers(0, 256, (9, 112, 112, 3), dtype=np.uint8)
    found = Embedded.of(network.run(crops))
    expected = plain.embed_measured(list(crops))
    assert ((found.embeddings * expected.embeddings).sum(axis=1) >= 0.9999).all()
    np.testing.assert_allclose(found.lengths, expected.lengths, rtol=1e-3)


@pytest.mark.parametrize("batch", ["batch", 1])
def test_an_arcface_network_is_normalised_in_the_graph_and_batched(tmp_path: Path, batch: int | str) -> None:
    weights = np.random.default_rng(6).normal(size=(16, 3, 112, 112)).astype(np.float32)
    nodes = [helper.make_node("Conv", ["data", "w"], ["c"]), helper.make_node("Reshape", ["c", "flat"], ["out"])]
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "tiny",
            [helper.make_tensor_value_info("data", onnx.TensorProto.FLOAT, [batch, 3, 112, 112])],
            [helper.make_tensor_value_info("out", onnx.TensorProto.FLOAT, [batch, 16])],
            [
                numpy_helper.from_array(weights, "w"),
                numpy_helper.from_array(np.array([1 if batch == 1 else -1, 16]), "flat"),
            ],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=9,
    )
    path = tmp_path / "arcface.onnx"
    onnx.save(model, path)
    plain = Recogniser(path, open_session(path, "cpu"))
    assert (plain.mean, plain.std) == (127.5, 127.5)
    network = bound(recogniser_graph(model, mean=plain.mean, std=plain.std))
    crops = np.random.default_rng(7).integers(0, 256, (5, 112, 112, 3), dtype=np.uint8)
    np.testing.assert_allclose(Embedded.of(network.run(crops)).embeddings, plain.embed(list(crops)), atol=1e-4)


def test_a_detector_without_landmarks_is_refused_by_name(scrfd_path: Path) -> None:
    model = onnx.load(scrfd_path)
    del model.graph.output[6:]
    with pytest.raises(PackError, match="nine outputs, this one 6"):
        scrfd_graph(model)


def test_what_was_given_out_stays_when_the_next_batch_runs(faces_config: FacesConfig) -> None:
    network = bound(yunet_graph(onnx.load(locate(faces_config).detector)))
    noise = np.random.default_rng(4).integers(0, 256, (2, 96, 160, 3), dtype=np.uint8)
    given, before = noise.copy(), network.run(noise[:1])
    kept = before.copy()
    network.run(noise[1:])
    np.testing.assert_array_equal(before, kept)
    np.testing.assert_array_equal(noise, given)
