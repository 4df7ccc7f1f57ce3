"""doctor: each check passes where it should, and each failure is provoked."""

from __future__ import annotations

import asyncio
import errno
import json
import re
import socket
import sqlite3
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from monitor.cli import doctor
from monitor.cli import doctor_machine as machine
from monitor.cli import doctor_parts as parts
from monitor.cli.doctor_check import Check, CheckStatus, ok
from monitor.cli.doctor_machine import KernelClock
from monitor.faces.config import FacesConfig
from monitor.web.config import WebConfig


def told(check: Check, status: CheckStatus, *words: str) -> None:
    assert check.status is status
    for word in words:
        assert word in f"{check.detail} | {check.remedy}"


def test_a_remedy_belongs_to_what_is_not_ok():
    with pytest.raises(ValueError, match="remedy"):
        replace(ok("a", "b"), status=CheckStatus.FAIL)
    with pytest.raises(ValueError, match="remedy"):
        replace(ok("a", "b"), remedy="c")


def test_an_old_python_fails():
    told(machine.check_python((3, 10)), CheckStatus.FAIL, "3.10", "install Python 3.11")
    told(machine.check_python(sys.version_info[:2]), CheckStatus.OK)


@pytest.mark.parametrize(
    ("family", "packages"),
    [
        ("onnxruntime", ["onnxruntime", "onnxruntime-gpu"]),
        ("opencv", ["opencv-python", "opencv-python-headless"]),
        ("opencv", ["opencv-contrib-python", "opencv-python"]),
        ("faiss", ["faiss-cpu", "faiss-gpu"]),
    ],
)
def test_two_packages_of_one_family_fail_by_name(family, packages):
    installed = dict.fromkeys(packages, "1.0")
    (check,) = (check for check in machine.check_rivals(installed) if check.name == family)
    told(check, CheckStatus.FAIL, *packages, "uninstall all of them")


@pytest.mark.parametrize("package", ["opencv-python", "opencv-python-headless", "opencv-contrib-python"])
def test_any_one_opencv_is_fine(package):
    (check,) = (check for check in machine.check_rivals({package: "5.0"}) if check.name == "opencv")
    told(check, CheckStatus.OK, f"{package} 5.0")


def test_a_family_without_any_package_fails():
    assert {check.status for check in machine.check_rivals({})} == {CheckStatus.FAIL}


def test_two_rival_distributions_on_the_path_are_found(tmp_path, monkeypatch):
    for name in ("opencv_python", "opencv_python_headless"):
        folder = tmp_path / f"{name}-4.11.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 4.11.0\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    (check,) = (check for check in machine.check_rivals(machine.installed_packages()) if check.name == "opencv")
    told(check, CheckStatus.FAIL, "opencv-python 4.11.0 and opencv-python-headless 4.11.0")


def test_a_missing_package_fails_and_an_extra_is_not_asked_for():
    requires = ["aiohttp>=3.12", "PyYAML>=6", "openvino>=1 ; extra == 'openvino'", "faiss-cpu>=1"]
    told(machine.check_packages(requires, {"pyyaml": "6"}), CheckStatus.FAIL, "not installed: aiohttp |")
    told(machine.check_packages(requires, {"pyyaml": "6", "aiohttp": "3"}), CheckStatus.OK)
    told(machine.check_packages(None, {}), CheckStatus.WARN, "unknown")


def test_an_opencv_that_cannot_be_loaded_fails(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    told(machine.check_opencv(), CheckStatus.FAIL, "opencv-python-headless")


def test_a_pyav_that_cannot_be_loaded_fails(monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    told(machine.check_libav(None), CheckStatus.FAIL, "PyAV cannot be loaded")


def test_a_pyav_without_the_needed_decoders_fails(monkeypatch):
    import av

    monkeypatch.setattr(av, "codecs_available", {"h264"})
    told(machine.check_libav("5.1"), CheckStatus.FAIL, "no decoder for hevc", "ffmpeg command 5.1")


def test_libav_is_found_with_its_version():
    told(machine.check_libav(None), CheckStatus.OK, "libavcodec", "ffmpeg command not installed")


@pytest.mark.parametrize(
    ("clock", "status", "words"),
    [
        (None, CheckStatus.WARN, "unknown"),
        (KernelClock(synchronised=False, max_error_s=16.0), CheckStatus.WARN, "offset unknown"),
        (KernelClock(synchronised=True, max_error_s=3.0), CheckStatus.WARN, "off by 3.0 s"),
        (KernelClock(synchronised=True, max_error_s=0.02), CheckStatus.OK, "20 ms"),
    ],
)
def test_the_clock_is_judged_by_what_the_kernel_knows(clock, status, words):
    told(machine.check_clock(clock), status, words)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="adjtimex(2) is Linux'")
def test_the_kernel_is_asked_for_real():
    clock = machine.kernel_clock()
    assert clock is None or 0 <= clock.max_error_s < 1e6


@pytest.mark.parametrize(
    ("free", "status"), [(1, CheckStatus.FAIL), (10**9, CheckStatus.WARN), (10**10, CheckStatus.OK)]
)
def test_little_room_warns_and_no_room_fails(free, status):
    told(machine.check_disk(Path("data"), free), status, "free for data")


def test_room_is_measured_where_the_folder_will_be(tmp_path):
    assert machine.free_bytes(tmp_path / "not" / "there" / "yet") > 0


def test_a_port_that_another_program_holds_fails():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        check = machine.check_port(WebConfig(port=port))
    told(check, CheckStatus.FAIL, f"web.port: {port}", "set another port")


def test_a_free_port_is_ok():
    told(machine.check_port(WebConfig(port=0)), CheckStatus.OK, "is free")


def test_an_address_of_another_machine_fails():
    told(machine.check_port(WebConfig(host="192.0.2.1")), CheckStatus.FAIL, "web.host", "set web.host")


async def test_a_port_that_a_running_monitor_holds_is_ok():
    async def healthz(request: web.Request) -> web.Response:
        return web.json_response({}, headers={"Server": "likeness-monitor"})

    app = web.Application()
    app.router.add_get("/healthz", healthz)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        config = WebConfig(port=runner.addresses[0][1])
        told(await asyncio.to_thread(machine.check_port, config), CheckStatus.OK, "a monitor that runs already")
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("configured", ["cuda", "tensorrt", "openvino"])
def test_a_provider_that_is_not_there_fails(configured):
    check = parts.check_provider(configured, ["cpu"], has_nvidia=False)
    told(check, CheckStatus.FAIL, f"configured {configured}, available cpu", "faces.provider")


def test_an_idle_gpu_warns():
    told(parts.check_provider("auto", ["cpu"], has_nvidia=True), CheckStatus.WARN, "GPU that is not used")
    told(parts.check_provider("auto", ["cpu", "cuda"], has_nvidia=True), CheckStatus.OK)


def test_a_pack_that_is_not_there_fails_with_the_packs_own_words(tmp_path):
    config = FacesConfig(pack="buffalo_l", pack_dir=tmp_path, cache_dir=tmp_path)
    told(parts.check_pack(config), CheckStatus.FAIL, "faces.pack_dir", str(tmp_path))


def test_a_gallery_that_cannot_be_read_fails(tmp_path):
    told(parts.check_gallery(tmp_path / "none"), CheckStatus.FAIL, "gallery.folder")


def test_a_broken_identity_and_an_empty_gallery_warn(tmp_path):
    told(parts.check_gallery(tmp_path), CheckStatus.WARN, "nobody is protected")
    (tmp_path / "somebody").mkdir()
    (tmp_path / "somebody" / "identity.yaml").write_text("nonsense: 1\n")
    told(parts.check_gallery(tmp_path), CheckStatus.WARN, "nonsense")


def test_a_database_that_is_none_fails(tmp_path):
    path = tmp_path / "monitor.db"
    path.write_bytes(b"this is no database" * 100)
    told(parts.check_database(path), CheckStatus.FAIL, "not a database", "backup")


def test_a_folder_in_the_databases_place_fails(tmp_path):
    told(parts.check_database(tmp_path), CheckStatus.FAIL, str(tmp_path), "storage.url")


def test_a_file_in_the_place_of_the_databases_folder_fails(tmp_path):
    (tmp_path / "data").write_text("")
    told(parts.check_database(tmp_path / "data" / "monitor.db"), CheckStatus.FAIL, "is not a folder")


def test_a_folder_that_may_not_be_written_fails(tmp_path, monkeypatch):
    monkeypatch.setattr(parts.os, "access", lambda path, mode: False)
    told(parts.check_database(tmp_path / "monitor.db"), CheckStatus.FAIL, "cannot be written by this user")
    told(parts.check_evidence(tmp_path), CheckStatus.FAIL, "cannot be written by this user", "evidence.folder")


def test_a_database_that_another_program_locks_warns(tmp_path):
    path = tmp_path / "monitor.db"
    with sqlite3.connect(path, isolation_level=None) as holder:
        holder.execute("CREATE TABLE t (a)")
        holder.execute("BEGIN EXCLUSIVE")
        told(parts.check_database(path), CheckStatus.WARN, "busy")
    holder.close()


def test_a_database_is_neither_made_nor_changed(tmp_path):
    path = tmp_path / "data" / "monitor.db"
    told(parts.check_database(path), CheckStatus.OK, "will be made")
    assert not path.parent.exists()
    path.parent.mkdir()
    sqlite3.connect(path).close()
    before = path.read_bytes()
    told(parts.check_database(path), CheckStatus.OK, "can be written")
    assert path.read_bytes() == before


def test_a_calibration_that_cannot_be_used_fails_before_the_daemon_would(tmp_path):
    faces = FacesConfig(cache_dir=tmp_path / "cache")
    path = tmp_path / "calibration.json"
    told(parts.check_calibration(faces, path), CheckStatus.OK, "built in, from few faces")
    path.write_text("{}")
    told(parts.check_calibration(faces, path), CheckStatus.FAIL, "is not a calibration", "monitor calibrate")
    missing = faces.model_copy(update={"pack": "buffalo_l", "pack_dir": tmp_path / "none"})
    told(parts.check_calibration(missing, path), CheckStatus.FAIL, "put the pack right first")


def test_a_file_in_the_place_of_the_evidence_fails(tmp_path):
    (tmp_path / "evidence").write_text("")
    told(parts.check_evidence(tmp_path / "evidence"), CheckStatus.FAIL, "is not a folder")


def test_a_healthy_machine_and_configuration_exit_with_0(monitor, operator):
    code, out, _ = monitor("doctor", "--json")
    checks = {check["name"]: check for check in json.loads(out)["checks"]}
    failed = {name: check for name, check in checks.items() if check["status"] == "fail"}
    assert (code, failed) == (0, {})
    assert set(checks) == {
        *("python", "packages", "onnxruntime", "opencv", "faiss", "opencv-loads", "libav", "clock", "configuration"),
        *("provider", "pack", "calibration", "gallery", "database", "evidence", "disk", "port"),
    }
    assert re.match(r"opencv-zoo on \w+ \w+ \(.+\), 128-d, digest ", checks["pack"]["detail"])


def test_what_fails_exits_with_2_and_stands_in_the_table_with_its_remedy(monitor, operator):
    (operator / "config/monitor.yaml").write_text("web: {port: x}\n")
    code, out, _ = monitor("doctor")
    assert code == 2
    assert "fail" in out
    assert "check-config" in out


def test_without_valid_settings_the_machine_is_still_checked(operator):
    (operator / "config/monitor.yaml").write_text("web: {port: x}\n")
    names = [check.name for check in doctor.examine(Path("config/monitor.yaml"), {})]
    assert names[-1] == "configuration"
    assert "clock" in names


def test_the_kernels_refusal_is_unknown_not_a_crash(monkeypatch):
    class Refusing:
        def adjtimex(self, _: object) -> int:
            return -errno.EPERM

    monkeypatch.setattr(machine.ctypes, "CDLL", lambda *args, **kwargs: Refusing())
    assert machine.kernel_clock() is None
