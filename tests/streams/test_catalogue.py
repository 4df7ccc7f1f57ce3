"""streams.yaml: what is read, and what is said about mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from monitor.errors import ConfigError
from monitor.streams.catalogue import load_streams
from monitor.streams.stream import BroadcastKind

SHIPPED = Path(__file__).parents[2] / "config" / "streams.yaml"
GOOD = """
streams:
  - id: douyin-1
    url: https://cdn.example.com/1.m3u8?token=${TOKEN}
    platform: douyin
    account: star
    room: "1"
    title: Sale
    products: [lipstick]
    tags: [vip]
    kind: digital_human
  - {id: b, url: "rtmp://cdn.example.com/live/b", platform: p, account: a, room: r}
"""


def load(tmp_path: Path, text: str, **environ: str):  # type: ignore[no-untyped-def]
    path = tmp_path / "streams.yaml"
    path.write_text(text)
    return load_streams(path, environ)


def test_every_field_is_read_and_variables_are_replaced(tmp_path: Path) -> None:
    first, second = load(tmp_path, GOOD, TOKEN="s3cret")
    assert first.url == "https://cdn.example.com/1.m3u8?token=s3cret"
    assert (first.id, first.platform, first.account, first.room) == ("douyin-1", "douyin", "star", "1")
    assert (first.title, first.products, first.tags) == ("Sale", ("lipstick",), ("vip",))
    assert first.kind is BroadcastKind.DIGITAL_HUMAN
    assert second.kind is BroadcastKind.LIVE
    assert "s3cret" not in repr(first)


def test_the_shipped_file_is_valid_and_its_example_too(tmp_path: Path) -> None:
    assert load_streams(SHIPPED) == ()
    lines = SHIPPED.read_text().splitlines()
    example = "\n".join(line[2:] for line in lines[lines.index("# streams:") :] if line.startswith("# "))
    (stream,) = load(tmp_path, example, DOUYIN_8841_TOKEN="t")
    assert stream.id == "douyin-8841"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("id: b", "id: douyin-1", r"streams\[1\]\.id: 'douyin-1' is used twice"),
        ("id: b", "id: 'b c'", r"streams\[1\]\.id: 'b c': .*letters, digits"),
        ("id: b", "id: b, id: c", r"streams\[1\]\.id stands twice"),
        ("platform: p, account: a, room: r", "platform: douyin, account: star, room: '1'", r"list a room once"),
        ("title: Sale", "title: 2026-02-31", r"streams\[0\]\.title"),
        ("- {id: b", "- live.example.com/hidden\n  - {id: b", r"streams\[1\]: \*\*\*"),
        ("streams:", f"streams: {'[' * 3000}", "not valid YAML"),
        ("platform: p, ", "", r"streams\[1\]\.platform: is missing"),
        ("room: r", "room: r, colour: red", r"streams\[1\]\.colour: unknown key; allowed: id, url"),
        ("kind: digital_human", "kind: robot", r"streams\[0\]\.kind: 'robot': .*'live', 'digital_human'"),
        ("rtmp://cdn.example.com/live/b", "gopher://x/hidden", r"streams\[1\]\.url: \*\*\*: allowed: .*rtmp"),
        ("rtmp://cdn.example.com/live/b", "rtmp:///hidden", r"streams\[1\]\.url: \*\*\*: allowed"),
        ("rtmp://cdn.example.com/live/b", "rtmp://h:99999/hidden", r"streams\[1\]\.url: \*\*\*: allowed"),
        ("${TOKEN}", "${OTHER}", r"streams\[0\]\.url: the environment variable 'OTHER'"),
        ("streams:", "rooms:", "unknown key 'rooms'; allowed: streams"),
        ("streams:", "streams: [", "not valid YAML"),
    ],
)
def test_a_mistake_is_named_with_file_key_and_what_is_allowed(tmp_path: Path, old: str, new: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as refused:
        load(tmp_path, GOOD.replace(old, new), TOKEN="s3cret")
    assert str(tmp_path / "streams.yaml") in str(refused.value)
    assert "s3cret" not in str(refused.value)
    assert "hidden" not in str(refused.value)


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        load(tmp_path, GOOD.replace("kind: digital_human", "kind: robot").replace("room: r", "colour: red"), TOKEN="x")
    assert len(str(refused.value).splitlines()) == 3


@pytest.mark.parametrize("text", ["", "streams:", "streams: {a: b}"])
def test_a_file_without_a_list_says_how_to_write_an_empty_one(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"`streams: \[\]` for none"):
        load(tmp_path, text)


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such file; make it"):
        load_streams(tmp_path / "none.yaml")
