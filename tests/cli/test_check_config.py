"""check-config: all problems of all files at once, and what is configured."""

from __future__ import annotations

import json

import pytest


def test_a_valid_configuration_is_summed_up(monitor, operator):
    code, out, err = monitor("check-config")
    assert (code, err) == (0, "")
    assert "rooms:      1 in config/streams.yaml" in out
    assert f"identities: 1 in {operator}/celebrity_gallery" in out
    assert "receivers:  log (log)" in out
    assert f"database:   {operator}/data/monitor.db" in out
    assert out.endswith("valid\n")
    assert "secret-key" not in out


def test_nothing_is_made(monitor, operator):
    monitor("check-config")
    assert not (operator / "data").exists()


def test_the_machine_form_has_the_same_facts(monitor, operator):
    code, out, _ = monitor("check-config", "--json")
    answer = json.loads(out)
    assert code == 0
    assert answer["valid"] is True
    assert answer["problems"] == []
    assert (answer["streams"], answer["identities"], answer["receivers"]) == (["shop"], ["barack_obama"], ["log"])


@pytest.mark.parametrize(
    ("file", "text", "warning"),
    [
        ("config/streams.yaml", "streams: []\n", "no stream is configured"),
        ("config/monitor.yaml", "alerts: {receivers: []}\n", "no receiver is configured"),
        ("config/monitor.yaml", "gallery: {folder: config}\n", "no identity is enrolled"),
        ("config/monitor.yaml", "web: {host: 0.0.0.0}\n", "the pages have no login"),
        ("config/monitor.yaml", "", "the only receiver is the log"),
    ],
)
def test_what_watches_nothing_or_tells_nobody_is_a_warning(monitor, operator, file, text, warning):
    (operator / file).write_text(text)
    code, out, _ = monitor("check-config")
    assert code == 0
    assert f"warning: {warning}" in out or any(
        warning in line for line in out.splitlines() if line.startswith("warning: ")
    )


def test_an_identity_without_a_photo_is_a_warning(monitor, operator):
    (operator / "celebrity_gallery/barack_obama/obama_official_portrait.jpg").unlink()
    code, out, _ = monitor("check-config")
    assert code == 0
    assert "barack_obama: has no photo" in out


def test_problems_of_all_files_are_told_at_once(monitor, operator):
    (operator / "config/streams.yaml").write_text("streams:\n  - {id: a}\n")
    (operator / "celebrity_gallery/barack_obama/identity.yaml").write_text("name: {en: A}\n")
    code, out, err = monitor("check-config")
    assert code == 2
    assert "streams.yaml" in err
    assert "identity.yaml" in err
    assert "consent is missing" in err
    assert "valid\n" not in out


def test_wrong_settings_are_told_by_key_and_end_the_check(monitor, operator):
    (operator / "config/monitor.yaml").write_text("web: {port: x, prot: 1}\n")
    code, out, err = monitor("check-config")
    assert (code, out) == (2, "")
    assert "config/monitor.yaml:1: web.port: 'x' is not allowed" in err
    assert "did you mean web.port?" in err
    assert "monitor: not valid: 2 problems" in err


def test_wrong_settings_in_the_machine_form(monitor, operator):
    (operator / "config/monitor.yaml").write_text("web: {port: x}\n")
    code, out, err = monitor("check-config", "--json")
    answer = json.loads(out)
    assert (code, err) == (2, "")
    assert answer["valid"] is False
    assert len(answer["problems"]) == 1


@pytest.mark.parametrize("missing", ["config/monitor.yaml", "config/streams.yaml", "celebrity_gallery"])
def test_a_file_that_is_not_there_is_named(monitor, operator, missing):
    (operator / missing).rename(operator / "moved")
    code, _, err = monitor("check-config")
    assert code == 2
    assert missing in err


@pytest.mark.parametrize(
    ("faces", "said"),
    [
        ("{provider: tensorrt}", "faces.provider tensorrt is not installed here, only cpu"),
        ("{quality_network: none.onnx}", "faces.quality_network none.onnx cannot be read: No such file or directory"),
        ("{pack: bufallo_l}", "faces.pack bufallo_l needs faces.pack_dir"),
        ("{pack: buffalo_l, pack_dir: nowhere}", "faces.pack_dir nowhere of pack buffalo_l cannot be read"),
    ],
)
def test_what_the_networks_need_and_is_not_there_is_told(monitor, operator, faces, said, monkeypatch):
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    (operator / "config/monitor.yaml").write_text(f"faces: {faces}\n")
    code, _, err = monitor("check-config")
    assert code == 2
    assert said in err


def test_rooms_whose_address_is_refused_or_whose_file_is_missing_are_warned_of(monitor, operator):
    (operator / "config/streams.yaml").write_text(
        "streams:\n"
        "  - {id: inside, url: 'rtmp://127.0.0.1/live/a', platform: p, account: a, room: '1'}\n"
        f"  - {{id: gone, url: '{operator}/gone.mp4', platform: p, account: a, room: '2'}}\n"
        "  - {id: outside, url: 'rtmp://192.0.32.8/live/a', platform: p, account: a, room: '3'}\n"
    )
    (operator / "config/monitor.yaml").write_text(f"network: {{allow_files: ['{operator}']}}\n")
    code, out, err = monitor("check-config")
    assert (code, err) == (0, "")
    (warning,) = (line for line in out.splitlines() if "inside:" in line)
    assert "127.0.0.1 is not public; to read it, add its network to network.allow" in warning
    assert "gone: there is no such file" in out
    assert "outside:" not in out
