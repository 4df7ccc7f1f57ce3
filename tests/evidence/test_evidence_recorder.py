"""The evidence of an incident on disk."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from support.violations import PACK, START, STREAM_KEY, make_identity, make_incident, make_sighting, make_stream
from support.waiting import wait_for

from monitor.clock import ManualClock
from monitor.errors import FrameLossReason, FrameLost
from monitor.evidence.manifest import Findings
from monitor.evidence.metrics import EvidenceFailure, EvidenceMetrics
from monitor.evidence.recorder import DRAW_TRIES, Draft, EvidenceRecorder
from monitor.faces.face import Box, EvidencePictures
from monitor.incidents.incident import EvidenceRecord, Incident
from monitor.sightings.presence import Bearing, Presence
from monitor.streams.packet import EncodedFrame

GALLERY_DIGEST = "e" * 64


class Pencil:
    """A renderer that notes what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, Box, str]] = []
        self.failures: list[FrameLost] = []
        """What its next answers are."""
        self.hangs = False

    async def render(self, frame: EncodedFrame, pts: int, box: Box, label: str) -> EvidencePictures:
        self.asked.append((pts, box, label))
        await asyncio.sleep(0)
        if self.hangs:
            await asyncio.Event().wait()
        if self.failures:
            raise self.failures.pop()
        return EvidencePictures(frame_jpeg=b"\xff\xd8frame%d" % len(self.asked), crop_jpeg=b"\xff\xd8crop")


@pytest.fixture
def pencil() -> Pencil:
    return Pencil()


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def recorder(
    tmp_path: Path, pencil: Pencil, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> EvidenceRecorder:
    for limit in ("DRAW_WITHIN_S", "WRITE_WITHIN_S"):
        monkeypatch.setattr(f"monitor.evidence.recorder.{limit}", 60.0)
    return EvidenceRecorder(tmp_path / "evidence", pencil, ManualClock(now=START), EvidenceMetrics(registry), "0.1.0")


def failures(registry: CollectorRegistry, reason: EvidenceFailure) -> float | None:
    return registry.get_sample_value("monitor_evidence_failures_total", {"reason": reason})


def findings(similarity: float = 0.7) -> Findings:
    sighting = make_sighting((1.0, 2.0, 3.5), similarity)
    return Findings(
        stream=make_stream(),
        identity=make_identity(),
        sighting=sighting,
        pack=PACK,
        gallery_digest=GALLERY_DIGEST,
        shown=sighting.clearest,
    )


async def draw(recorder: EvidenceRecorder, similarity: float = 0.7) -> Draft:
    draft = await recorder.draw(findings(similarity))
    assert draft is not None
    return draft


async def record(recorder: EvidenceRecorder, incident: Incident | None = None, similarity: float = 0.7) -> str:
    written = await (await draw(recorder, similarity)).write(incident or make_incident())
    assert written is not None
    return written.manifest_sha256


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
    assert manifest["other_faces"] == "made unrecognisable"
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
        "quality": None,
        "runner_up": "biden",
        "look_alike": None,
        "encoded_keyframe": None,
    }
    assert manifest["shown_sample"]["encoded_keyframe"]["sha256"] == hashlib.sha256(b"idr").hexdigest()


async def test_the_manifest_says_how_the_likeness_was_shown_and_by_which_measurements(
    recorder: EvidenceRecorder, tmp_path: Path
) -> None:
    bearing = Bearing(
        views=4, face_share=0.14321, rigidity=0.99512, travel=0.01, outshone=3.1, framed=0.0, rival_rigidity=0.81
    )
    poster = replace(findings().sighting, presence=Presence.BACKGROUND, bearing=bearing)
    draft = await recorder.draw(replace(findings(), sighting=poster))
    assert draft is not None
    await draft.write(make_incident())
    told = read(tmp_path / "evidence" / make_incident().id)["sighting"]
    assert told["presence"] == "background"
    assert told["presence_measured"] == {
        "views": 4,
        "face_share": 0.1432,
        "rigidity": 0.9951,
        "travel_face_heights": 0.01,
        "highest_other_face": 3.1,
        "highest_other_face_rigidity": 0.81,
        "framed_share": 0.0,
    }


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
    recorder: EvidenceRecorder, tmp_path: Path
) -> None:
    first = await record(recorder)
    assert await record(recorder, similarity=0.9) == first
    assert (tmp_path / "evidence" / make_incident().id / "frame.jpg").read_bytes() == b"\xff\xd8frame1"


async def test_evidence_of_a_more_prominent_showing_lies_beside_the_earlier_and_names_its_digest(
    recorder: EvidenceRecorder, tmp_path: Path
) -> None:
    incident = make_incident()
    poster = replace(findings(), sighting=replace(findings().sighting, presence=Presence.BACKGROUND))
    draft = await recorder.draw(poster)
    assert draft is not None
    record_of_it = await draft.write(incident)
    assert record_of_it is not None
    first = record_of_it.manifest_sha256
    kept = {path.name: path.read_bytes() for path in (tmp_path / "evidence" / incident.id).iterdir()}
    assert record_of_it == EvidenceRecord(folder=incident.id, manifest_sha256=first, presence=Presence.BACKGROUND)
    escalated = replace(incident, evidence=(record_of_it,))
    second = await record(recorder, escalated, similarity=0.8)
    assert {path.name: path.read_bytes() for path in (tmp_path / "evidence" / incident.id).iterdir()} == kept
    folder = tmp_path / "evidence" / f"{incident.id}-presenter"
    assert second == hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest() != first
    assert read(folder)["incident"]["earlier_manifests_sha256"] == [first]
    assert read(folder)["sighting"]["presence"] == "presenter"
    # As by a process that was killed before the database had it: the next one finds it, and adds nothing.
    assert await record(recorder, escalated, similarity=0.9) == second
    assert sorted(path.name for path in folder.parent.iterdir()) == [incident.id, folder.name]


async def test_what_an_attempt_wrote_that_was_given_up_on_counts_as_what_it_shows(recorder: EvidenceRecorder) -> None:
    """Its thread may end after the attempt timed out; the next sample shows the likeness more prominently."""
    incident = make_incident()
    poster = replace(findings(), sighting=replace(findings().sighting, presence=Presence.BACKGROUND))
    late = await recorder.draw(poster)
    assert late is not None
    assert await late.write(incident) is not None
    found = await (await draw(recorder)).write(incident)
    assert found is not None
    assert (found.folder, found.presence) == (incident.id, Presence.BACKGROUND)


async def test_records_at_the_same_time_agree_and_leave_nothing_temporary(
    recorder: EvidenceRecorder, tmp_path: Path
) -> None:
    assert len(set(await asyncio.gather(*(record(recorder) for _ in range(8))))) == 1
    assert [path.name for path in (tmp_path / "evidence").iterdir()] == [make_incident().id]


async def test_what_a_killed_process_left_half_written_is_removed_and_nothing_else(
    recorder: EvidenceRecorder, tmp_path: Path
) -> None:
    await recorder.clear()
    await record(recorder)
    partial = tmp_path / "evidence" / ".01KJV8Q3C0000000000000000B.0123.partial"
    partial.mkdir(parents=True)
    (partial / "frame.jpg").write_bytes(b"half")
    await recorder.clear()
    assert [path.name for path in (tmp_path / "evidence").iterdir()] == [make_incident().id]
    assert read(tmp_path / "evidence" / make_incident().id)["format_version"] == 1


async def test_a_picture_whose_worker_died_is_drawn_again(
    recorder: EvidenceRecorder, pencil: Pencil, registry: CollectorRegistry
) -> None:
    pencil.failures = [FrameLost(FrameLossReason.WORKER_DIED)] * (DRAW_TRIES - 1)
    await record(recorder)
    assert len(pencil.asked) == DRAW_TRIES
    assert [failures(registry, reason) for reason in EvidenceFailure] == [0, 0, 0]


async def test_a_picture_that_cannot_be_drawn_is_counted_and_can_be_tried_again(
    recorder: EvidenceRecorder, pencil: Pencil, tmp_path: Path, registry: CollectorRegistry
) -> None:
    pencil.failures = [FrameLost(FrameLossReason.UNDECODABLE)] * DRAW_TRIES
    assert await recorder.draw(findings()) is None
    assert failures(registry, EvidenceFailure.NOT_DRAWN) == 1
    assert not (tmp_path / "evidence").exists()
    await record(recorder)


async def test_a_picture_that_takes_too_long_is_given_up_and_counted(
    recorder: EvidenceRecorder, pencil: Pencil, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monitor.evidence.recorder.DRAW_WITHIN_S", 0.01)
    pencil.hangs = True
    assert await recorder.draw(findings()) is None
    assert failures(registry, EvidenceFailure.TIMED_OUT) == 1


async def test_a_disk_that_is_slow_is_given_up_and_what_it_wrote_in_the_end_is_the_evidence(
    recorder: EvidenceRecorder, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    draft = await draw(recorder)
    awake, fsync = threading.Event(), os.fsync

    def slow(handle: int) -> None:
        awake.wait(5)
        fsync(handle)

    with monkeypatch.context() as patch:
        patch.setattr("monitor.evidence.recorder.WRITE_WITHIN_S", 0.01)
        patch.setattr("os.fsync", slow)
        assert await draft.write(make_incident()) is None
        assert failures(registry, EvidenceFailure.TIMED_OUT) == 1
        assert not (tmp_path / "evidence" / make_incident().id).exists()
        awake.set()
        manifest = tmp_path / "evidence" / make_incident().id / "manifest.json"
        await wait_for(manifest.exists, timeout_s=30, what="the late write")
    assert await record(recorder, similarity=0.9) == hashlib.sha256(manifest.read_bytes()).hexdigest()


async def test_a_folder_that_cannot_be_written_is_counted_and_logged_with_a_remedy(
    recorder: EvidenceRecorder, tmp_path: Path, registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "evidence").write_text("a file, no folder")
    assert await (await draw(recorder)).write(make_incident()) is None
    assert failures(registry, EvidenceFailure.NOT_WRITTEN) == 1
    assert re.search(r"reason=not_written .*(give this user the right|check its rights)", caplog.text)


async def test_a_folder_without_its_manifest_is_never_filled_again(
    recorder: EvidenceRecorder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await record(recorder)
    folder = tmp_path / "evidence" / make_incident().id
    (folder / "manifest.json").unlink()
    assert await (await draw(recorder)).write(make_incident()) is None
    assert "no manifest.json: move the folder away" in caplog.text
    assert not (folder / "manifest.json").exists()


async def test_a_draft_that_is_discarded_takes_back_what_it_wrote_and_no_more(
    recorder: EvidenceRecorder, tmp_path: Path
) -> None:
    first, second = await draw(recorder), await draw(recorder)
    await first.discard()
    await first.write(make_incident())
    await second.write(make_incident())
    await second.discard()
    assert (tmp_path / "evidence" / make_incident().id).exists()
    await first.discard()
    assert not (tmp_path / "evidence" / make_incident().id).exists()
