"""Defaults, file and environment come together; what is wrong is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from monitor.config import MonitorConfig, load_config
from monitor.errors import ConfigError

SECRET = "whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY="


@pytest.fixture
def write(tmp_path: Path):
    def write(text: str) -> Path:
        path = tmp_path / "monitor.yaml"
        path.write_text(text)
        return path

    return write


def problems(path: Path | None, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_config(path, environ or {})
    return str(caught.value).splitlines()


def test_without_file_and_environment_the_defaults_hold():
    assert load_config(None, {}) == MonitorConfig()


@pytest.mark.parametrize("text", ["", "# nothing\n", "web:\n  # port: 9000\n"])
def test_an_empty_file_or_section_means_the_defaults(write, text):
    assert load_config(write(text), {}) == MonitorConfig()


def test_the_file_overrides_the_defaults_and_the_environment_the_file(write):
    path = write("web: {port: 9000, host: localhost}\nincidents: {close_after: 30}\n")
    config = load_config(path, {"MONITOR__WEB__PORT": "9001", "PATH": "/bin"})
    assert (config.web.port, config.web.host, config.incidents.close_after) == (9001, "localhost", 30.0)


def test_the_environment_sets_lists_as_yaml_and_null_as_no_value(write):
    path = write("web: {base_url: 'https://a.example'}")
    config = load_config(path, {"MONITOR__NETWORK__ALLOW": "[10.0.0.0/8]", "MONITOR__WEB__BASE_URL": "null"})
    assert config.network.allow == ("10.0.0.0/8",)
    assert config.web.base_url is None


def test_a_text_setting_from_the_environment_stays_text_whatever_it_looks_like():
    assert load_config(None, {"MONITOR__GALLERY__FOLDER": "[photos]"}).gallery.folder == Path("[photos]")


def test_data_dir_moves_everything_that_is_written_unless_it_is_placed_itself(write):
    config = load_config(write("data_dir: /srv/m\nevidence: {folder: /proof}\nfaces: {cache_dir: null}\n"), {})
    assert config.storage.url == "sqlite:////srv/m/monitor.db"
    assert config.evidence.folder == Path("/proof")
    assert config.faces.cache_dir == Path("/srv/m/cache")
    assert config.gallery.calibration_file == Path("/srv/m/calibration.json")
    assert config.gallery.traffic_file == Path("/srv/m/stranger_traffic.json")


def test_variables_are_replaced_inside_values_and_dollar_escapes_stay(write):
    path = write("web:\n  base_url: https://${HOST}/x\ngallery:\n  folder: $${HOME}/a-$b\n")
    config = load_config(path, {"HOST": "watch.example"})
    assert config.web.base_url == "https://watch.example/x"
    assert config.gallery.folder == Path("${HOME}/a-$b")


def test_a_variable_cannot_add_keys(write):
    path = write("gallery: {folder: '${FOLDER}'}")
    config = load_config(path, {"FOLDER": "a\nweb: {port: 1}"})
    assert config.gallery.folder == Path("a\nweb: {port: 1}")


def test_a_missing_variable_is_named_with_its_key_and_line_and_complained_of_once(write):
    path = write("alerts:\n  receivers:\n    - {type: webhook, name: a, url: 'http://h/', secret: '${NOPE}'}\n")
    (line,) = problems(path)
    assert line.startswith(f"{path}:3: alerts.receivers[0].secret: ")
    assert "'NOPE'" in line
    assert "not set" in line


def test_a_variable_name_that_is_none_is_refused(write):
    (line,) = problems(write("data_dir: '${A-B}'"), {"A-B": "x"})
    assert "'A-B'" in line
    assert "letters, digits and _" in line


def test_every_problem_is_told_at_once_one_line_each(write):
    path = write("web: {port: 70000}\nstreams: {sample_interval: often}\nincidents: {close_after: 0}\n")
    lines = problems(path, {"MONITOR__SIGHTINGS__MIN_SAMPLES": "0"})
    assert len(lines) == 4
    for key in ("web.port: 70000", "streams.sample_interval: 'often'", "incidents.close_after: 0", "min_samples: '0'"):
        assert any(key in line for line in lines)


def test_a_problem_names_file_line_key_value_and_what_is_allowed(write):
    path = write("web:\n  host: localhost\n  port: 70000\n")
    assert problems(path) == [f"{path}:3: web.port: 70000 is not allowed: must be less than or equal to 65535"]


def test_a_problem_from_the_environment_names_the_variable():
    (line,) = problems(None, {"MONITOR__WEB__PORT": "many"})
    assert line.startswith("environment: MONITOR__WEB__PORT: web.port: 'many' is not allowed: must be a whole number")


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("web: {prot: 1}", "web.port"),
        ("wep: {}", "web"),
        ("streams: {sample_intervall: 1}", "streams.sample_interval"),
        ("alerts: {receivers: [{type: log, nam: a}]}", "alerts.receivers[0].name"),
        ("alert_budget: {rooms: 3}", "sightings.alert_budget"),
    ],
)
def test_an_unknown_key_suggests_the_nearest_known_one(write, text, near):
    assert any(line.endswith(f"there is no such setting; did you mean {near}?") for line in problems(write(text)))


def test_an_unknown_key_like_nothing_known_lists_what_is_allowed(write):
    (line,) = problems(write("web: {zzz: 1}"))
    assert line.endswith("allowed here: base_url, host, port, token")


def test_an_unknown_variable_is_refused_as_an_unknown_key_is():
    (line,) = problems(None, {"MONITOR__WEB__PROT": "1"})
    assert line.startswith("environment: MONITOR__WEB__PROT: ")
    assert "did you mean web.port?" in line


def test_yaml_mistakes_name_line_and_column(write):
    path = write("web:\n  port: 1\n  host: [a, b\nstreams: {}\n")
    (line,) = problems(path)
    assert line.startswith(f"{path}:4:8: not valid YAML: ")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("web: {port: 1}\nstreams: {}\nweb: {}\n", ":3: web stands twice (first on line 1); keep one"),
        ("web:\n  port: 1\n  port: 2\n", ":3: web.port stands twice (first on line 2); keep one"),
        ("network:\n  allow: &a [10.0.0.0/8]\n  allow_files: *a\n", "aliases (*name) are not supported"),
        ("faces: &f {pack: a, x: *f}", "aliases (*name) are not supported"),
        ("? [a]\n: 1\n", ":1: a key must be a plain word"),
        ("data_dir: 2026-99-99\n", "'2026-99-99' cannot be read as a value"),
        ("- web\n", "must be a mapping of settings"),
        ("web: 5\n", "web: 5 is not allowed: must be a mapping of settings"),
        ("web: !!python/object:os.system {}\n", ":1: web: the tag "),
        ("alerts: {receivers: [{name: a}]}", "the mapping with the keys name is not allowed: must have the key 'type'"),
        ("alerts: {receivers: [{name: a, type: x}]}", "'type' must be one of 'log', 'webhook', 'alertmanager'"),
        ("alerts: {receivers: [{type: log}]}", "alerts.receivers[0].name: is missing; str is expected"),
    ],
)
def test_what_is_no_settings_mapping_is_refused_with_its_place(write, text, expected):
    assert any(expected in line for line in problems(write(text)))


def test_a_tagged_value_runs_no_code(write, tmp_path):
    problems(write(f"web: !!python/object/apply:os.mkdir ['{tmp_path}/made']\n"))
    assert not (tmp_path / "made").exists()


def test_a_missing_binary_or_huge_file_is_refused_by_name(tmp_path):
    missing = tmp_path / "none.yaml"
    assert problems(missing) == [f"{missing}: there is no such file; make it, or name another one"]
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"web: \xff")
    assert problems(binary) == [f"{binary}: is not UTF-8 text (byte 5)"]
    huge = tmp_path / "huge.yaml"
    huge.write_text("#" * 1_000_001)
    assert "larger than 1000000 bytes" in problems(huge)[0]
    assert "cannot be read" in problems(tmp_path)[0]


@pytest.mark.parametrize("depth", [200, 50_000])
def test_deep_nesting_is_refused_not_a_crash(write, depth):
    assert len(problems(write("web: " + "[" * depth + "]" * depth))) == 1


@pytest.mark.parametrize(
    ("receiver", "environ"),
    [
        ("{type: webhook, name: a, url: hunter2.example/hook, secret: whsec_hunter2}", {}),
        ("{type: webhook, name: a, url: 'ftp://u:hunter2@h/', secret: '${S}'}", {"S": "hunter2"}),
        ("{type: webhook, name: a, url: 'http://h', secret: [hunter2]}", {}),
        ("{type: webhook, name: a, url: 'http://h', secret: {hunter: hunter2}}", {}),
        ("{type: webhok, name: a, url: 'http://h/hunter2', secret: hunter2}", {}),
        ("{type: webhook, name: '${S}', url: 'http://h', secret: " + SECRET + "}", {"S": "Hunter2hunter2"}),
    ],
)
def test_no_secret_stands_in_a_problem(write, receiver, environ):
    text = "\n".join(problems(write(f"alerts: {{receivers: [{receiver}]}}"), environ))
    assert "hunter2" not in text.lower()
    assert "alerts.receivers[0]" in text


def test_a_value_from_a_variable_is_shown_as_it_stands_in_the_file(write):
    (line,) = problems(write("web: {port: '${PORT}'}"), {"PORT": "not-a-port"})
    assert "not-a-port" not in line
    assert "${PORT}" in line


def test_two_receivers_of_one_name_are_refused(write):
    (line,) = problems(write("alerts: {receivers: [{type: log, name: a}, {type: log, name: a}]}"))
    assert "alerts.receivers: the list of 2 is not allowed: names must be unique" in line


HOOK = "{type: srs, name: a, secret: hunter2hunter2hunter2, url: 'rtmp://h/{app}/{stream}', platform: p, %s}"
NAMES = "account: '{stream}', room: '{stream}'"


@pytest.mark.parametrize(
    ("hooks", "expected"),
    [
        ([HOOK % NAMES, HOOK % NAMES], "names must be unique"),
        ([HOOK % NAMES, (HOOK % NAMES).replace("name: a", "name: b")], "need different secrets"),
        ([HOOK % "account: a, room: '{id}'"], "room: {id} is no field of srs; allowed: vhost, app, stream"),
        ([HOOK % "account: a"], "hooks[0].room: is missing"),
        ([(HOOK % NAMES).replace("srs", "wowza")], "must be 'srs', 'nginx-rtmp', 'mediamtx', 'tencent' or 'alibaba'"),
        ([(HOOK % NAMES).replace("//h/", "//{app}/")], "may not choose the host"),
    ],
)
def test_a_hook_that_cannot_work_is_refused_by_its_key_without_its_secret(write, hooks, expected):
    lines = problems(write(f"hooks: [{', '.join(hooks)}]"))
    assert any(expected in line for line in lines)
    assert all(":1: hooks" in line for line in lines)
    assert "hunter2" not in "".join(lines)


def test_a_hook_is_read_whole(write):
    (hook,) = load_config(write(f"hooks: [{HOOK % NAMES}]"), {}).hooks
    assert (hook.type, hook.url, hook.forget_after_s) == ("srs", "rtmp://h/{app}/{stream}", 3600.0)


def test_a_weak_token_is_refused_and_not_shown(write):
    (line,) = problems(write("web: {token: hunter2}"))
    assert "web.token" in line
    assert "hunter2" not in line


@pytest.mark.parametrize(
    "value", ["example.org", "ftp://example.org", "http://", "http://u:p@example.org", "http://example.org/?a=1"]
)
def test_a_base_url_that_is_no_plain_web_address_is_refused(write, value):
    (line,) = problems(write(f"web: {{base_url: '{value}'}}"))
    assert "web.base_url" in line


def test_the_settings_do_not_change():
    with pytest.raises(ValueError, match="frozen"):
        MonitorConfig().data_dir = Path("x")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("faces: {gpus: 0}", "faces.gpus: 0 is not allowed: must be a list: [a, b]"),
        ("faces: {gpus: []}", "faces.gpus: the list of 0 is not allowed: must hold at least 1"),
        ("faces: {gpus: [1, 1]}", "faces.gpus: the list of 2 is not allowed: names a card twice"),
        ("faces: {pack: 1}", "faces.pack: 1 is not allowed: must be text: write it in quotes"),
        (
            "faces: {provider: openvino, shared_inference: true}",
            "faces: faces.shared_inference is not possible with faces.provider openvino: set one to another",
        ),
    ],
)
def test_what_is_wrong_is_told_in_words_that_name_the_remedy(write, text, said):
    assert any(said in line for line in problems(write(text)))
