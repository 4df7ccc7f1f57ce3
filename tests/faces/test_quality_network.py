"""A quality network of the operator's is fed as its authors do, weighs in where it is there, and is refused by name.

The published file cannot be had here: small networks with its interface stand in for it.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from faces.pictures import Picture, room_picture
from onnx import TensorProto, helper, numpy_helper
from prometheus_client import CollectorRegistry

from monitor.cli import doctor_parts
from monitor.cli.doctor_check import CheckStatus
from monitor.errors import PackError
from monitor.faces import loading, quality_network
from monitor.faces.analyser import FaceAnalyser
from monitor.faces.config import FacesConfig, Provider
from monitor.faces.face import Face
from monitor.faces.gate import GateVerdict, judge
from monitor.faces.metrics import FacesMetrics
from monitor.faces.pool import VisionPool
from monitor.faces.providers import open_session
from monitor.faces.quality_network import QualityNetwork
from monitor.streams.packet import EncodedFrame

PROVIDERS: tuple[Provider, ...] = ("cpu", "openvino") if importlib.util.find_spec("openvino") is not None else ("cpu",)
WEIGHTS = np.random.default_rng(9).normal(0, 0.01, (1, 3, 112, 112)).astype(np.float32)
MEAN = np.full((1, 3, 112, 112), 0.5 / (3 * 112 * 112), np.float32)
"""With a bias of 0.5 the crop's mean, 0 to 1."""


def write_network(
    path: Path,
    weights: np.ndarray = MEAN,
    bias: float = 0.5,
    *,
    batch: int | str = "batch",
    side: int = 112,
    last: Sequence[onnx.NodeProto] = (),
    outputs: Sequence[str] = ("out",),
) -> Path:
    """One number for each crop: its values, weighed and added up.

    :param last: what makes ``out`` of ``sum``, of shape (batch, 1); by default nothing.
    """
    nodes = [helper.make_node("Conv", ["data", "w", "b"], ["c"]), helper.make_node("Flatten", ["c"], ["sum"])]
    nodes += last or [helper.make_node("Identity", ["sum"], ["out"])]
    graph = helper.make_graph(
        nodes,
        "clarity",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, [batch, 3, side, side])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(np.full(1, bias, np.float32), "b")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def loaded(path: Path, provider: Provider = "cpu") -> QualityNetwork:
    return quality_network.load(path, provider, open_session)


def compared(analyser: FaceAnalyser, picture: Picture) -> Face:
    (face,) = (face for face in analyser.faces(picture) if face.embedding is not None)
    return face


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("batch", ["batch", 1])
def test_crops_are_given_as_rgb_between_minus_one_and_one_and_answered_in_their_order(
    tmp_path: Path, provider: Provider, batch: int | str
) -> None:
    network = loaded(write_network(tmp_path / "net.onnx", WEIGHTS, 0.25, batch=batch), provider)
    crops = list(np.random.default_rng(5).integers(0, 256, (11, 112, 112, 3), dtype=np.uint8))
    expected = [
        float((((crop[:, :, ::-1] / 255 - 0.5) / 0.5).transpose(2, 0, 1) * WEIGHTS[0]).sum() + 0.25) for crop in crops
    ]
    assert np.ptp(expected) > 1
    assert network.clarity(crops) == pytest.approx(expected, abs=1e-3)
    assert network.clarity([]) == []


def test_what_is_no_finite_number_says_nothing(tmp_path: Path) -> None:
    root = [helper.make_node("Sqrt", ["sum"], ["out"])]
    network = loaded(write_network(tmp_path / "net.onnx", MEAN, 0.0, last=root))
    dark, bright = np.zeros((112, 112, 3), np.uint8), np.full((112, 112, 3), 255, np.uint8)
    assert network.clarity([dark, bright]) == [None, pytest.approx(0.5**0.5, abs=1e-3)]


TWICE = [
    helper.make_node("Identity", ["sum"], ["out"]),
    helper.make_node("Identity", ["sum"], ["other"]),
]
PAIR = [helper.make_node("Concat", ["sum", "sum"], ["out"], axis=1)]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"side": 128}, r"\['batch', 3, 128, 128\], expected \[batch, 3, 112, 112\]"),
        ({"batch": 4}, r"takes \[4, 3, 112, 112\]"),
        ({"last": TWICE, "outputs": ("out", "other")}, "2 outputs, expected one"),
        ({"last": PAIR}, "2 numbers for one face, expected one"),
    ],
    ids=["size", "batch", "outputs", "numbers"],
)
def test_a_network_of_another_shape_is_refused_with_the_setting_and_the_remedy(
    tmp_path: Path, faces_config: FacesConfig, changed: dict[str, object], told: str
) -> None:
    path = write_network(tmp_path / "other.onnx", **changed)
    with pytest.raises(PackError, match=rf"faces\.quality_network .*other\.onnx.*{told}.*ediffiqa_tiny_jun2024\.onnx"):
        loading.load(faces_config.model_copy(update={"quality_network": path}))


def test_a_file_that_is_missing_or_no_network_is_refused_with_the_setting_and_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(PackError, match=r"faces\.quality_network .*none\.onnx cannot be read: No such file.*leave"):
        loaded(tmp_path / "none.onnx")
    with pytest.raises(PackError, match=r"faces\.quality_network .* cannot be read: Is a directory"):
        loaded(tmp_path)
    (tmp_path / "text.onnx").write_bytes(b"version https://git-lfs.github.com/spec/v1")
    with pytest.raises(PackError, match=r"faces\.quality_network .*text\.onnx.*cannot run.*ediffiqa_tiny_jun2024"):
        loaded(tmp_path / "text.onnx")


def test_it_changes_the_quality_and_neither_the_embedding_nor_the_packs_digest(
    tmp_path: Path, analyser: FaceAnalyser, faces_config: FacesConfig, portraits: dict[str, Picture]
) -> None:
    path = write_network(tmp_path / "mean.onnx")
    judged = loading.load(faces_config.model_copy(update={"quality_network": path}))
    picture = room_picture(portraits["obama_official_portrait"])
    before, after = compared(analyser, picture), compared(judged, picture)
    assert (before.quality.clarity, analyser.info.quality_digest) == (None, None)
    # Skin, hair and a flag: neither black nor white.
    assert after.quality.clarity is not None
    assert 0.15 < after.quality.clarity < 0.85
    assert after.quality.brightness / 255 == pytest.approx(after.quality.clarity, abs=0.08)
    np.testing.assert_array_equal(after.embedding, before.embedding)
    assert judged.info.digest == analyser.info.digest
    assert judged.info.quality_digest == hashlib.sha256(path.read_bytes()).hexdigest()


def test_only_faces_that_pass_the_other_measurements_are_shown_to_it(
    tmp_path: Path, faces_config: FacesConfig, portraits: dict[str, Picture]
) -> None:
    network = write_network(tmp_path / "mean.onnx")
    judged = loading.load(faces_config.model_copy(update={"quality_network": network}))
    portrait = portraits["obama_official_portrait"]
    (large,), (small,) = judged.faces(room_picture(portrait)), judged.faces(room_picture(portrait, 120, 68))
    assert large.quality.clarity is not None
    assert small.quality.clarity is None
    assert judge(small.box, small.det_score, small.quality, faces_config) is GateVerdict.TOO_SMALL


@pytest.mark.parametrize("shared", [False, True], ids=["own networks", "shared inference"])
async def test_workers_judge_with_it_and_what_it_refuses_is_counted_as_unclear(
    tmp_path: Path, faces_config: FacesConfig, face_frame: EncodedFrame, shared: bool
) -> None:
    change = {"quality_network": write_network(tmp_path / "mean.onnx"), "shared_inference": shared}
    mean = faces_config.model_copy(update=change)
    nothing = write_network(tmp_path / "nothing.onnx", np.zeros_like(MEAN), 0.0)
    for config, verdict in ((mean, "embedded"), (mean.model_copy(update={"quality_network": nothing}), "unclear")):
        registry = CollectorRegistry()
        pool = VisionPool(config, FacesMetrics(registry))
        await pool.start()
        try:
            assert config.quality_network is not None
            assert pool.pack.quality_digest == hashlib.sha256(config.quality_network.read_bytes()).hexdigest()
            (picture,) = await pool.analyse(face_frame)
        finally:
            await pool.aclose()
        (face,) = picture.faces
        assert face.quality.clarity is not None
        assert (face.embedding is not None) == (face.quality.clarity > 0) == (verdict == "embedded")
        assert registry.get_sample_value("monitor_faces_found_total", {"verdict": verdict}) == 1


@pytest.mark.parametrize("provider", PROVIDERS)
def test_doctor_says_whether_it_is_there_and_whose_it_is(
    tmp_path: Path, faces_config: FacesConfig, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = faces_config.model_copy(update={"provider": provider})
    assert "no quality network" in doctor_parts.check_pack(config).detail
    path = write_network(tmp_path / "mean.onnx")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    judged = config.model_copy(update={"quality_network": path})
    detail = doctor_parts.check_pack(judged).detail
    assert f"quality network {digest[:12]}: not the file that OpenCV Zoo publishes" in detail
    monkeypatch.setattr(quality_network, "PUBLISHED_SHA256", digest)
    assert "eDifFIQA(T) as published, CC-BY-4.0" in doctor_parts.check_pack(judged).detail
    path.unlink()
    refused = doctor_parts.check_pack(judged)
    assert refused.status is CheckStatus.FAIL
    assert "faces.quality_network" in refused.remedy
    if provider == "cpu":
        shared = doctor_parts.check_pack(judged.model_copy(update={"shared_inference": True}))
        assert shared.status is CheckStatus.FAIL
        assert "faces.quality_network" in shared.remedy
