"""A pack or a provider that is not there is an error that names the remedy."""

from __future__ import annotations

import importlib.util
import os
import threading
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest

from monitor.errors import PackError
from monitor.faces import loading
from monitor.faces.analyser import FaceAnalyser
from monitor.faces.config import FacesConfig, Provider
from monitor.faces.packs import locate
from monitor.faces.providers import Precision, open_session
from monitor.faces.yunet import YuNet

HAS_OPENVINO = importlib.util.find_spec("openvino") is not None


def _folder(folder: Path, *names: str) -> FacesConfig:
    for name in names:
        (folder / name).write_bytes(name.encode())
    return FacesConfig(pack="buffalo_l", pack_dir=folder)


def test_a_named_pack_without_a_folder_is_refused() -> None:
    with pytest.raises(PackError, match=r"buffalo_l needs faces\.pack_dir"):
        locate(FacesConfig(pack="buffalo_l"))


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(PackError, match=r"nowhere of pack buffalo_l cannot be read: No such file"):
        locate(FacesConfig(pack="buffalo_l", pack_dir=tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("names", "role"),
    [
        ((), "detector"),
        (("w600k_r50.onnx",), "detector"),
        (("det_10g.onnx",), "recogniser"),
        (("det_10g.onnx", "genderage.onnx", "1k3d68.onnx"), "recogniser"),
        (("det_10g.onnx", "scrfd_2.5g.onnx", "w600k_r50.onnx"), "detector"),
    ],
)
def test_a_missing_or_ambiguous_network_is_named(tmp_path: Path, names: tuple[str, ...], role: str) -> None:
    with pytest.raises(PackError, match=f"exactly one {role}") as caught:
        locate(_folder(tmp_path, *names))
    assert all(name in str(caught.value) for name in names)


@pytest.mark.parametrize(
    "names",
    [
        ("det_10g.onnx", "w600k_r50.onnx"),
        ("scrfd_10g_bnkps.onnx", "glintr100.onnx"),
        ("det_500m.onnx", "w600k_mbf.onnx"),
    ],
)
def test_insightfaces_packs_are_found_by_their_file_names(tmp_path: Path, names: tuple[str, str]) -> None:
    others = "genderage.onnx", "1k3d68.onnx", "2d106det.onnx"
    files = locate(_folder(tmp_path, *names, *others))
    assert (files.detector.name, files.recogniser.name) == names


def test_the_digest_of_a_folder_follows_the_two_files_that_are_loaded(tmp_path: Path) -> None:
    config = _folder(tmp_path, "det_10g.onnx", "w600k_r50.onnx")
    before = locate(config).digest
    (tmp_path / "genderage.onnx").write_bytes(b"not loaded")
    assert locate(config).digest == before
    (tmp_path / "w600k_r50.onnx").write_bytes(b"another")
    assert locate(config).digest != before


def test_a_file_that_is_no_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PackError, match=r"cannot run .*w600k_r50\.onnx"):
        loading.load(_folder(tmp_path, "det_10g.onnx", "w600k_r50.onnx"))


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_gpu_that_was_asked_for_and_is_not_there_is_an_error(
    faces_config: FacesConfig, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(PackError, match=rf"faces\.provider {provider} is not installed here.*install onnxruntime-gpu"):
        loading.load(faces_config.model_copy(update={"provider": provider}))


@pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="this ONNX Runtime has CUDA"
)
def test_a_gpu_library_that_does_not_start_is_an_error_and_never_the_cpu(faces_config: FacesConfig) -> None:
    """ONNX Runtime warns and goes on without a provider that it does not have."""
    path = locate(faces_config).detector
    with pytest.warns(UserWarning, match="CUDAExecutionProvider"), pytest.raises(PackError, match="did not start"):
        open_session(path, "cuda")


@pytest.mark.skipif(HAS_OPENVINO, reason="openvino is installed")
def test_openvino_that_was_asked_for_and_is_not_there_is_an_error(faces_config: FacesConfig) -> None:
    with pytest.raises(PackError, match=r"openvino is not installed here, only cpu.*: install the package openvino"):
        loading.load(faces_config.model_copy(update={"provider": "openvino"}))


@pytest.mark.skipif(not HAS_OPENVINO, reason="the package openvino is not installed")
def test_openvino_gives_the_same_faces_as_onnx_runtime(
    analyser: FaceAnalyser, faces_config: FacesConfig, portraits: dict[str, np.ndarray]
) -> None:
    other = loading.load(faces_config.model_copy(update={"provider": "openvino", "precision": "float32"}))
    assert other.info.provider == "openvino"
    assert other.info.digest == analyser.info.digest
    for picture in portraits.values():
        (theirs,), (ours,) = other.faces(picture), analyser.faces(picture)
        assert theirs.embedding is not None
        assert ours.embedding is not None
        assert theirs.embedding @ ours.embedding >= 0.9999
        assert theirs.box.overlap(ours.box) > 0.99


@pytest.mark.skipif(not HAS_OPENVINO, reason="the package openvino is not installed")
def test_openvino_leaves_it_to_the_system_which_core_a_worker_runs_on(faces_config: FacesConfig) -> None:
    """Every worker is a process of its own with one thread: pinned, they would all share the first core."""
    from monitor.faces.openvino_session import OpenVinoSession

    session = OpenVinoSession(locate(faces_config).recogniser, Precision.FLOAT32)
    feed = {session.get_inputs()[0].name: np.zeros((1, 3, 112, 112), np.float32)}
    runner, seen = threading.get_native_id(), set()
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.001):
            seen.add(frozenset(os.sched_getaffinity(runner)))

    watcher = threading.Thread(target=watch)
    watcher.start()
    for _ in range(30):
        session.run(None, feed)
    done.set()
    watcher.join()
    assert seen == {frozenset(os.sched_getaffinity(0))}


@pytest.mark.skipif(not HAS_OPENVINO, reason="the package openvino is not installed")
def test_openvino_compiles_for_the_first_sizes_only_and_finds_the_same_in_others(
    faces_config: FacesConfig, portraits: dict[str, np.ndarray]
) -> None:
    """A confined worker has not the memory to compile."""
    from monitor.faces.openvino_session import MOST_SIZES, OpenVinoSession

    path = locate(faces_config).detector
    session = OpenVinoSession(path, Precision.FLOAT32)
    detector, reference = YuNet(session), YuNet(open_session(path, "cpu"))
    picture = portraits["astronaut"]
    for height, width in ((360, 640), (640, 360), (640, 640), (480, 640), (512, 300), (360, 640)):
        shown = cv2.resize(picture, (width, height))
        found, expected = detector.detect(shown), reference.detect(shown)
        np.testing.assert_allclose(found.landmarks, expected.landmarks, atol=0.05)
    assert len(session._requests) == MOST_SIZES
