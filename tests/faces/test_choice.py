"""What runs the networks is the fastest that gives the same vectors, and what it is and why is told."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from monitor.errors import PackError
from monitor.faces import choice as choices
from monitor.faces.choice import Choice, Trial, choose, fastest, probe_crops
from monitor.faces.config import FacesConfig, Provider
from monitor.faces.loading import load
from monitor.faces.metrics import FacesMetrics
from monitor.faces.packs import locate
from monitor.faces.pool import VisionPool
from monitor.faces.providers import Precision, Session, available, open_session, precisions

QUICK = Trial(provider="openvino", precision=Precision.BFLOAT16, ms=2.0, cosine=0.9995)
STEADY = Trial(provider="cpu", precision=Precision.FLOAT32, ms=8.0, cosine=1.0)
Opener = Callable[[Path, Provider, Precision], Session]


class AlteredSession:
    """The CPU's, under another name; ``noise`` is added to what it gives, and it is as slow as so many runs."""

    def __init__(self, session: Session, noise: float, runs: int) -> None:
        self._session, self._noise, self._runs = session, noise, runs

    def __getattr__(self, name: str) -> object:
        return getattr(self._session, name)

    def run(self, names: Sequence[str] | None, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        for _ in range(self._runs):
            found = self._session.run(names, feed)
        rng = np.random.default_rng(0)
        return [one + self._noise * np.abs(one).mean() * rng.normal(size=one.shape).astype(np.float32) for one in found]


def opener(*, noise: float = 0.0, cpu_runs: int = 1) -> Opener:
    """Opens every provider's network on the CPU, where cpu itself is ``cpu_runs`` times slower."""

    def open_network(path: Path, provider: Provider, precision: Precision) -> Session:
        real = provider == "cpu"
        return AlteredSession(open_session(path, "cpu"), 0.0 if real else noise, cpu_runs if real else 1)  # type: ignore[return-value]

    return open_network


def chosen(config: FacesConfig, open_network: Opener = open_session) -> Choice:
    files = locate(config)
    return choose(config, files.detector, files.recogniser, open_network)


@pytest.fixture
def auto(faces_config: FacesConfig) -> FacesConfig:
    return faces_config.model_copy(update={"provider": "auto"})


@pytest.fixture
def with_openvino(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choices, "available", lambda: ("cpu", "openvino", "cuda", "tensorrt"))
    monkeypatch.setattr(choices, "precisions", lambda _: (Precision.FLOAT32,))


def test_the_quickest_that_passes_is_taken() -> None:
    assert fastest([STEADY, QUICK]) is QUICK


@pytest.mark.parametrize(
    ("precision", "cosine"), [(Precision.BFLOAT16, 0.9989), (Precision.FLOAT32, 0.99989), (Precision.FLOAT32, np.nan)]
)
def test_other_vectors_are_refused_however_quick(precision: Precision, cosine: float) -> None:
    other = Trial(provider="cuda", precision=precision, ms=0.1, cosine=cosine)
    assert fastest([other, STEADY]) is STEADY
    assert "refused" in str(other)
    with pytest.raises(PackError, match=r"no provider gives the vectors of the CPU: cuda .*refused.*faces\.provider"):
        fastest([other])


def test_probes_are_always_the_same_and_unlike_each_other(faces_config: FacesConfig) -> None:
    once, again = probe_crops(), probe_crops()
    assert all(np.array_equal(one, other) for one, other in zip(once, again, strict=True))
    vectors = chosen(faces_config).recogniser.embed(once)
    cosines = vectors @ vectors.T
    assert (cosines[~np.eye(len(once), dtype=bool)] < 0.9).all()


@pytest.mark.usefixtures("with_openvino")
def test_auto_takes_the_faster_and_says_how_fast_each_was(auto: FacesConfig) -> None:
    found = chosen(auto, opener(cpu_runs=4))
    assert (found.provider, found.precision) == ("openvino", Precision.FLOAT32)
    told = r"recogniser: the fastest of openvino float32 .*, cpu float32 .*; detector: the fastest of openvino .*"
    assert re.fullmatch(told, found.reason)
    # Whether a card works is for the inference process to find out.
    assert "cuda" not in found.reason
    assert "tensorrt" not in found.reason


@pytest.mark.usefixtures("with_openvino")
def test_auto_refuses_a_faster_one_that_gives_other_vectors(auto: FacesConfig) -> None:
    found = chosen(auto, opener(noise=0.1, cpu_runs=4))
    assert found.provider == "cpu"
    assert "refused" in found.reason


@pytest.mark.usefixtures("with_openvino")
def test_auto_leaves_out_with_a_warning_what_does_not_start(
    auto: FacesConfig, caplog: pytest.LogCaptureFixture
) -> None:
    def open_network(path: Path, provider: Provider, precision: Precision) -> Session:
        if provider == "openvino":
            raise PackError("no plug-in")
        return open_session(path, provider, precision)

    assert chosen(auto, open_network).provider == "cpu"
    assert "provider_left_out provider=openvino reason=no plug-in" in caplog.text


def test_with_nothing_but_the_cpu_nothing_is_tried(auto: FacesConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choices, "available", lambda: ("cpu",))
    opened: list[Provider] = []

    def open_network(path: Path, provider: Provider, precision: Precision) -> Session:
        opened.append(provider)
        return open_session(path, provider, precision)

    found = chosen(auto, open_network)
    assert (found.provider, found.reason, opened) == ("cpu", "nothing else is installed", ["cpu", "cpu"])


def test_a_precision_that_is_not_there_is_refused(faces_config: FacesConfig) -> None:
    config = faces_config.model_copy(update={"precision": "bfloat16"})
    with pytest.raises(PackError, match=r"faces\.precision bfloat16: cpu cannot compute in it here; set it to auto"):
        chosen(config)


async def test_every_worker_of_a_pool_runs_what_the_first_one_chose(auto: FacesConfig) -> None:
    registry = CollectorRegistry()
    pool = VisionPool(auto, FacesMetrics(registry))
    await pool.start()
    try:
        await pool.ready()
        assert pool.workers == 2
        pack = pool.pack
        assert pack.provider in available()
        assert pack.provider_reason
        told = generate_latest(registry).decode()
        labels = f'precision="{pack.precision}",provider="{pack.provider}",reason="{pack.provider_reason}"'
        assert f"monitor_faces_provider_info{{{labels}}} 1.0" in told
    finally:
        await pool.aclose()


@pytest.mark.skipif(
    "openvino" not in available() or Precision.BFLOAT16 not in precisions("openvino"),
    reason="no openvino here that computes in bfloat16",
)
def test_bfloat16_gives_faces_of_cosine_0_999(faces_config: FacesConfig, portraits: dict[str, np.ndarray]) -> None:
    exact = load(faces_config)
    reduced = load(faces_config.model_copy(update={"provider": "openvino", "precision": "bfloat16"}))
    assert reduced.info.precision == "bfloat16"
    for picture in portraits.values():
        (one,), (other,) = exact.faces(picture), reduced.faces(picture)
        assert one.embedding is not None
        assert other.embedding is not None
        assert one.embedding @ other.embedding >= 0.999


def test_available_names_the_cpu_and_only_what_onnx_runtime_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    assert set(available()) - {"openvino"} == {"cpu"}
