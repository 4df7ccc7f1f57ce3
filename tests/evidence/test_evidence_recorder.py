"""The evidence of an incident on disk."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from support.violations import PACK, START, STREAM_KEY, make_identity, make_incident, make_sighting, make_stream

from monitor.clock import ManualClock
from monitor.errors import EvidenceError, FrameLossReason, FrameLost
from monitor.evidence.recorder import EvidenceRecorder
from monitor.faces.face import Box, EvidencePictures
from monitor.incidents.incident import Incident
from monitor.streams.packet import EncodedFrame

GALLERY_DIGEST = "e" * 64


class Pencil:
    """A renderer that notes what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, Box, str]] = []
        self.failure: FrameLost | None = None

    async def render(self, frame: EncodedFrame, pts: int, box: Box, label: str) -> EvidencePictures:
        self.asked.append((pts, box, label))
        await asyncio.sleep(0)
        if self.failure:
            raise self.failure
        return EvidencePictures(frame_jpeg=b"\xff\xd8frame%d" % len(self.asked), crop_jpeg=b"\xff\xd8crop")


@pytest.fixture
def pencil() -> Pencil:
    return Pencil()


@pytest.fixture
def recorder(tmp_path: Path, pencil: Pencil) -> EvidenceRecorder:
    return EvidenceRecorder(tmp_path / "evidence", pencil, ManualClock(now=START), "0.1.0")


async def record(recorder: EvidenceRecorder, incident: Incident | None = None, similarity: float = 0.7) -> str:
    return await recorder.record(
        incident or make_incident(),
        make_stream(),
        make_identity(),
        make_sighting((1.0, 2.0, 3.5), similarity),
        PACK,
        GALLERY_DIGEST,
    )


def read(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "manifest.json").read_bytes()))


async def test_the_four_files_lie_in_the_incidents_folder_and_the_digest_is_the_manifests(
    recorder: EvidenceRecorder, tmp_path: Path, pencil: Pencil
) -> None:
    digest = await record(recorder)
    folder = tmp_path / "evidence" / make_incident().id
    content = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert sorted(content) == ["crop.jpg", "frame.jpg", "manifest.json", "reference.jpg"]
    assert content["reference.jpg"] == b"\xff\xd8reference\xff\xd9"
    assert digest == hashlib.sha256(content["manifest.json"]).hexdigest()
    named = read(folder)["files"]
    assert named == {name: hashlib.sha256(content[name]).hexdigest() for name in named}
    assert sorted(named) == ["crop.jpg", "frame.jpg", "reference.jpg"]
    assert [path.name for path in folder.parent.iterdir()] == [folder.name], "nothing temporary stays"
    assert pencil.asked == [(315000, make_sighting().best.box, "Barack Obama 0.70")]


async def test_the_manifest_says_what_was_seen_by_what_under_which_settings(
    recorder: EvidenceRecorder, tmp_path: Path
) -> None:
    await record(recorder)
    manifest = read(tmp_path / "evidence" / make_incident().id)
    assert manifest["format_version"] == 1
    assert manifest["identity"] == {
        "id": "obama",
        "name": "Barack Obama",
        "names": {"en": "Barack Obama", "zh": "贝拉克·奥巴马"},
    }
    assert (manifest["stream"]["platform"], manifest["stream"]["room"]) == ("demo", "room-1")
    assert manifest["thresholds"] == {"similarity": 0.41, "margin": 0.05}
    assert manifest["pack"] == {"name": "opencv-zoo", "digest": PACK.digest, "provider": "cpu"}
    assert (manifest["gallery_digest"], manifest["software_version"]) == (GALLERY_DIGEST, "0.1.0")
    assert manifest["incident"]["decision"] == "no_permission"
    assert manifest["recorded_at"] == "2026-03-04T05:06:07.000Z"
    assert [sample["stream_time"] for sample in manifest["samples"]] == [1.0, 2.0, 3.5]
    assert manifest["shown_sample"] == manifest["samples"][-1]
    assert manifest["shown_sample"] | {"encoded_keyframe": None} == {
        "utc": "2026-03-04T05:06:10.500Z",
        "stream_time": 3.5,
        "epoch": 1,
        "pts": 315000,
        "box_px": [100.0, 50.0, 220.0, 200.0],
        "picture_px": [1280, 720],
        "similarity": 0.7,
        "identity_id": "obama",
        "margin": 0.6,
        "runner_up": "biden",
        "encoded_keyframe": None,
    }
    assert manifest["shown_sample"]["encoded_keyframe"]["sha256"] == hashlib.sha256(b"idr").hexdigest()


async def test_the_manifest_is_canonical_json(recorder: EvidenceRecorder, tmp_path: Path) -> None:
    await record(recorder)
    written = (tmp_path / "evidence" / make_incident().id / "manifest.json").read_bytes()
    again = json.dumps(json.loads(written), sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n"
    assert written == again.encode()


async def test_the_manifest_holds_no_embedding_and_no_stream_key(recorder: EvidenceRecorder, tmp_path: Path) -> None:
    await record(recorder)
    text = (tmp_path / "evidence" / make_incident().id / "manifest.json").read_text()
    assert "embedding" not in text
    assert "0.0883" not in text
    assert STREAM_KEY not in text
    assert "rtmp://live.example.org/***" in text


async def test_a_second_record_changes_nothing_and_gives_the_same_digest(
    recorder: EvidenceRecorder, tmp_path: Path, pencil: Pencil
) -> None:
    first = await record(recorder)
    assert await record(recorder, similarity=0.9) == first
    assert await record(EvidenceRecorder(tmp_path / "evidence", pencil, ManualClock(now=START), "0.2.0")) == first
    assert len(pencil.asked) == 1
    assert (tmp_path / "evidence" / make_incident().id / "frame.jpg").read_bytes() == b"\xff\xd8frame1"


async def test_records_at_the_same_time_agree(recorder: EvidenceRecorder) -> None:
    assert len(set(await asyncio.gather(*(record(recorder) for _ in range(8))))) == 1


async def test_what_a_killed_process_left_half_written_is_replaced(recorder: EvidenceRecorder, tmp_path: Path) -> None:
    partial = tmp_path / "evidence" / f".{make_incident().id}.partial"
    partial.mkdir(parents=True)
    (partial / "frame.jpg").write_bytes(b"half")
    (partial / "rest.tmp").write_bytes(b"half")
    await record(recorder)
    assert sorted(path.name for path in (tmp_path / "evidence").iterdir()) == [make_incident().id]
    assert not (tmp_path / "evidence" / make_incident().id / "rest.tmp").exists()


async def test_a_picture_that_cannot_be_drawn_is_an_evidence_error_and_can_be_tried_again(
    recorder: EvidenceRecorder, pencil: Pencil, tmp_path: Path
) -> None:
    pencil.failure = FrameLost(FrameLossReason.WORKER_DIED)
    with pytest.raises(EvidenceError, match="not drawn: worker_died"):
        await record(recorder)
    assert not (tmp_path / "evidence").exists()
    pencil.failure = None
    await record(recorder)


async def test_a_folder_that_cannot_be_written_is_an_evidence_error_with_a_remedy(
    tmp_path: Path, pencil: Pencil
) -> None:
    (tmp_path / "evidence").write_text("a file, no folder")
    recorder = EvidenceRecorder(tmp_path / "evidence", pencil, ManualClock(now=START), "0.1.0")
    with pytest.raises(EvidenceError, match=r"give this user the right|check its rights"):
        await record(recorder)


async def test_a_folder_without_its_manifest_is_never_filled_again(recorder: EvidenceRecorder, tmp_path: Path) -> None:
    await record(recorder)
    folder = tmp_path / "evidence" / make_incident().id
    (folder / "manifest.json").unlink()
    with pytest.raises(EvidenceError, match=r"no manifest\.json: move the folder away"):
        await record(recorder)
    assert not (folder / "manifest.json").exists()
