"""Bytes that ended two workers are refused, whatever stream or time they come with; others cost nothing."""

from __future__ import annotations

import dataclasses
import hashlib

from support.packets import FORMAT, packet

from monitor.faces.quarantine import Quarantine, digest, frame_sample
from monitor.streams.packet import EncodedFrame


def frame(*packets: int, stream_id: str = "room", pts: int = 0) -> EncodedFrame:
    """A frame whose packets have the given sizes."""
    held = tuple(packet(pts + index, key=not index, size=size) for index, size in enumerate(packets))
    return EncodedFrame(stream_id=stream_id, epoch=1, format=FORMAT, packets=held, instants=(pts,))


def test_the_same_bytes_are_refused_after_the_second_kill_and_not_before() -> None:
    quarantine = Quarantine()
    sample = frame_sample(frame(100))
    assert quarantine.refused(sample) is None
    assert quarantine.killed(sample) is None
    assert quarantine.refused(sample) is None
    assert quarantine.killed(sample) == digest(sample)
    assert quarantine.refused(sample) == digest(sample)
    assert quarantine.count == 1


def test_another_stream_and_another_time_do_not_make_them_other_bytes() -> None:
    quarantine = Quarantine()
    quarantine.killed(frame_sample(frame(100, stream_id="a")))
    quarantine.killed(frame_sample(frame(100, stream_id="b", pts=9_000)))
    assert quarantine.refused(frame_sample(frame(100, stream_id="c", pts=90_000)))
    assert quarantine.refused(frame_sample(frame(101))) is None


def test_a_group_of_pictures_that_begins_with_a_refused_keyframe_is_refused_too() -> None:
    quarantine = Quarantine()
    for _ in range(2):
        quarantine.killed(frame_sample(frame(100)))
    assert quarantine.refused(frame_sample(frame(100, 20, 30))) == digest(frame_sample(frame(100)))
    assert quarantine.refused(frame_sample(frame(99, 20, 30))) is None


def test_what_a_worker_survived_is_no_longer_suspected() -> None:
    quarantine = Quarantine()
    sample = frame_sample(frame(100))
    quarantine.killed(sample)
    quarantine.answered(sample)
    assert quarantine.killed(sample) is None
    assert quarantine.refused(sample) is None


def test_only_so_many_are_remembered_and_the_oldest_goes_first() -> None:
    quarantine = Quarantine(most=3)
    for size in range(1, 6):
        for _ in range(2):
            quarantine.killed(frame_sample(frame(size)))
    refused = [size for size in range(1, 6) if quarantine.refused(frame_sample(frame(size)))]
    assert refused == [3, 4, 5]
    assert quarantine.count == 3


def test_the_digest_covers_codec_extradata_and_every_byte_and_where_the_parts_end() -> None:
    one = frame(10)
    other_codec = dataclasses.replace(one, format=dataclasses.replace(FORMAT, codec="hevc"))
    other_extradata = dataclasses.replace(one, format=dataclasses.replace(FORMAT, extradata=b"\0"))
    samples = [frame_sample(item) for item in (one, other_codec, other_extradata, frame(5, 5))]
    assert len({digest(sample) for sample in samples}) == 4
    expected = b"".join(len(part).to_bytes(8, "big") + part for part in (b"h264", b"", bytes(10)))
    assert digest(samples[0]) == hashlib.sha256(expected).hexdigest()
