"""The prepared networks are the published ones, run batched, and are prepared once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from monitor.errors import PackError
from monitor.faces import opencv_zoo
from monitor.faces.config import FacesConfig
from monitor.faces.opencv_zoo import SFACE, YUNET, SourceNet
from monitor.faces.packs import locate
from monitor.faces.providers import open_session


def _run(path: Path, blob: np.ndarray) -> list[np.ndarray]:
    session = open_session(path, "cpu")
    return session.run(None, {session.get_inputs()[0].name: blob})


@pytest.mark.parametrize(("net", "shape"), [(YUNET, (3, 3, 96, 160)), (SFACE, (3, 3, 112, 112))])
def test_a_prepared_network_gives_in_a_batch_what_it_gives_alone(
    net: SourceNet, shape: tuple[int, ...], faces_cache: Path
) -> None:
    path = opencv_zoo.prepared(net, faces_cache)
    blob = np.random.default_rng(1).uniform(0, 255, shape).astype(np.float32)
    together = _run(path, blob)
    for index in range(len(blob)):
        for batched, alone in zip(together, _run(path, blob[index : index + 1]), strict=True):
            np.testing.assert_allclose(batched[index], alone[0], rtol=1e-4, atol=1e-4)


def test_yunet_takes_any_height_and_width(faces_cache: Path) -> None:
    path = opencv_zoo.prepared(YUNET, faces_cache)
    for height, width in ((32, 32), (384, 640), (640, 352)):
        outputs = _run(path, np.zeros((1, 3, height, width), np.float32))
        assert outputs[0].shape == (1, height // 8 * (width // 8), 1)


@pytest.mark.parametrize(("net", "shape"), [(YUNET, (1, 3, 640, 640)), (SFACE, (1, 3, 112, 112))])
def test_a_prepared_network_gives_what_the_published_one_gives(
    net: SourceNet, shape: tuple[int, ...], faces_cache: Path
) -> None:
    """ONNX Runtime dequantises the published weights itself once the one field it stumbles over is cleared."""
    published = onnx.load(opencv_zoo.source_path(net))
    for node in published.graph.node:
        if node.op_type == "DequantizeLinear":
            scales = next(t for t in published.graph.initializer if t.name == node.input[1])
            for attribute in node.attribute:
                if attribute.name == "block_size" and list(scales.dims) in ([], [1]):
                    attribute.i = 0
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    reference = onnxruntime.InferenceSession(published.SerializeToString(), options)
    blob = np.random.default_rng(2).uniform(0, 255, shape).astype(np.float32)
    feeds = {entry.name: np.zeros(entry.shape, np.float32) for entry in reference.get_inputs()}
    feeds[reference.get_inputs()[0].name] = blob
    for expected, ours in zip(
        reference.run(None, feeds), _run(opencv_zoo.prepared(net, faces_cache), blob), strict=True
    ):
        np.testing.assert_allclose(ours, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def test_an_altered_file_is_refused_with_both_digests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    altered = tmp_path / YUNET.file_name
    altered.write_bytes(opencv_zoo.source_path(YUNET).read_bytes() + b"\0")
    monkeypatch.setattr(opencv_zoo, "source_path", lambda net: altered)
    with pytest.raises(PackError) as caught:
        opencv_zoo.prepared(YUNET, tmp_path)
    assert YUNET.sha256 in str(caught.value)
    assert opencv_zoo._sha256(altered) in str(caught.value)


def test_a_missing_carrier_package_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(opencv_zoo, "CARRIER", "no-such-package-here")
    with pytest.raises(PackError, match=r"install no-such-package-here==1\.1\.1"):
        opencv_zoo.prepared(YUNET, tmp_path)


def test_a_damaged_prepared_file_is_prepared_anew(tmp_path: Path) -> None:
    path = opencv_zoo.prepared(YUNET, tmp_path)
    intact = path.read_bytes()
    path.write_bytes(intact[:1000])
    assert opencv_zoo.prepared(YUNET, tmp_path).read_bytes() == intact


def test_an_intact_prepared_file_is_used_as_it_is(tmp_path: Path) -> None:
    written = opencv_zoo.prepared(YUNET, tmp_path).stat().st_mtime_ns
    assert opencv_zoo.prepared(YUNET, tmp_path).stat().st_mtime_ns == written


def test_several_processes_may_prepare_at_once(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from monitor.faces import opencv_zoo as z; "
        "p = z.prepared(z.YUNET, pathlib.Path(sys.argv[1])); "
        "import onnxruntime; onnxruntime.InferenceSession(str(p))"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".onnx", ".sha256"]


def test_a_file_in_place_of_the_cache_folder_is_named(tmp_path: Path) -> None:
    blocked = tmp_path / "cache"
    blocked.write_text("a file")
    with pytest.raises(PackError, match=r"faces\.cache_dir .*cache"):
        opencv_zoo.prepared(YUNET, blocked)


def test_the_digest_changes_with_the_preparation(faces_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = FacesConfig(cache_dir=faces_cache)
    before = locate(config).digest
    assert locate(config).digest == before
    monkeypatch.setattr(opencv_zoo, "PREPARATION_VERSION", opencv_zoo.PREPARATION_VERSION + 1)
    assert locate(config).digest != before
