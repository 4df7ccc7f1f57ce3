"""What ``monitor doctor`` looks at on the machine: Python, packages, libraries, clock, disk and port."""

from __future__ import annotations

import ctypes
import errno
import http.client
import re
import shutil
import subprocess
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from monitor.cli.doctor_check import Check, fail, ok, warn
from monitor.errors import ConfigError
from monitor.web.config import WebConfig

LEAST_PYTHON = (3, 11)
FULL_BELOW_BYTES = 500_000_000
LOW_BELOW_BYTES = 5_000_000_000
CLOCK_ERROR_WARN_S = 0.5

RIVALS: Mapping[str, frozenset[str]] = {
    "onnxruntime": frozenset(
        {"onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml", "onnxruntime-training"}
    ),
    "opencv": frozenset(
        {"opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless"}
    ),
    "faiss": frozenset({"faiss-cpu", "faiss-gpu", "faiss-gpu-cu12", "faiss-gpu-cu11"}),
}
"""Packages of one family write the same folder: with two of them, whichever was installed last wins, silently."""


def check_python(version: tuple[int, int]) -> Check:
    """Whether this Python is new enough."""
    shown = ".".join(map(str, version))
    if version < LEAST_PYTHON:
        return fail("python", f"version {shown}", "install Python 3.11 or later and make the environment anew")
    return ok("python", f"version {shown}")


def installed_packages() -> dict[str, str]:
    """Every installed distribution's normalised name and version."""
    found: dict[str, str] = {}
    for distribution in metadata.distributions():
        name = distribution.metadata["Name"]
        if name:
            found[name.lower().replace("_", "-").replace(".", "-")] = distribution.version
    return found


def check_rivals(installed: Mapping[str, str]) -> Iterator[Check]:
    """One check a family: exactly one of its packages must be there."""
    for family, names in RIVALS.items():
        there = sorted(names & installed.keys())
        shown = " and ".join(f"{name} {installed[name]}" for name in there)
        if len(there) == 1:
            yield ok(family, shown)
        elif there:
            yield fail(
                family,
                f"{shown} are installed; they overwrite each other's files",
                f"uninstall all of them ({' '.join(there)}), then install the locked requirements again",
            )
        else:
            yield fail(family, "no package of this family is installed", "install the locked requirements")


def check_libav(ffmpeg: str | None) -> Check:
    """The libraries that read streams, and the ``ffmpeg`` command, which is only for information."""
    try:
        import av
    except ImportError as err:
        return fail("libav", f"PyAV cannot be loaded: {err}", "install the locked requirements again")
    major, minor, patch = av.library_versions["libavcodec"]
    missing = sorted({"h264", "hevc"} - av.codecs_available)
    detail = f"PyAV {av.__version__}, libavcodec {major}.{minor}.{patch}, ffmpeg command {ffmpeg or 'not installed'}"
    if missing:
        return fail("libav", f"{detail}; no decoder for {', '.join(missing)}", "install PyAV's own wheel")
    return ok("libav", detail)


def ffmpeg_version() -> str | None:
    """What the ``ffmpeg`` command says it is; None without one."""
    command = shutil.which("ffmpeg")
    if command is None:
        return None
    try:
        answer = subprocess.run([command, "-version"], capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    words = answer.stdout.split()
    return words[2] if len(words) > 2 else None


def check_opencv() -> Check:
    """Whether OpenCV can be loaded: with a display's build that needs the system's libGL."""
    try:
        import cv2
    except ImportError as err:
        return fail(
            "opencv-loads", str(err).splitlines()[0], "install opencv-python-headless in place of opencv-python"
        )
    return ok("opencv-loads", f"version {cv2.__version__}")


class _Timex(ctypes.Structure):
    """The beginning of Linux' ``struct timex`` (adjtimex(2)); the rest is room."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("room", ctypes.c_byte * 256),
    )


_STA_UNSYNC = 0x40


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelClock:
    """What the kernel knows of its own clock."""

    synchronised: bool
    max_error_s: float


def kernel_clock() -> KernelClock | None:
    """Ask with adjtimex(2), which changes nothing when no mode is set; None where that is not possible."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        timex = _Timex()
        state = libc.adjtimex(ctypes.byref(timex))
    except (OSError, AttributeError):
        return None
    if state < 0:
        return None
    return KernelClock(synchronised=not timex.status & _STA_UNSYNC, max_error_s=timex.maxerror / 1e6)


def check_clock(clock: KernelClock | None) -> Check:
    """Whether a time service keeps the clock: evidence and permissions depend on it.

    The offset itself cannot be known without a time source; the kernel says how far off it can be at most.
    """
    if clock is None:
        return warn("clock", "unknown: this system does not say", "make sure that a time service (chrony, NTP) runs")
    if not clock.synchronised:
        return warn(
            "clock",
            "offset unknown: no time service has set this clock, as far as the kernel knows",
            "start a time service (chrony, systemd-timesyncd); in a container, see that the host runs one",
        )
    if clock.max_error_s > CLOCK_ERROR_WARN_S:
        return warn("clock", f"can be off by {clock.max_error_s:.1f} s", "see why the time service cannot do better")
    return ok("clock", f"synchronised, off by {clock.max_error_s * 1000:.0f} ms at most")


def existing_parent(path: Path) -> Path:
    """``path``, or the nearest folder above it that is there."""
    path = path.absolute()
    return next(folder for folder in (path, *path.parents) if folder.exists())


def check_disk(folder: Path, free_bytes: int) -> Check:
    """Whether there is room for the database and the evidence."""
    detail = f"{free_bytes / 1e9:.1f} GB free for {folder}"
    remedy = "make room, or set data_dir to a larger disk"
    if free_bytes < FULL_BELOW_BYTES:
        return fail("disk", detail, remedy)
    return warn("disk", detail, remedy) if free_bytes < LOW_BELOW_BYTES else ok("disk", detail)


def free_bytes(folder: Path) -> int:
    """Bytes that may still be written where ``folder`` is, or will be."""
    return shutil.disk_usage(existing_parent(folder)).free


def check_port(web: WebConfig) -> Check:
    """Whether the pages' port is free, or held by a monitor that runs already."""
    from monitor.web.server import listening_socket

    place = f"{web.host} port {web.port}"
    try:
        listening_socket(web).close()
    except ConfigError as err:
        if isinstance(err.__cause__, OSError) and err.__cause__.errno == errno.EADDRINUSE and _is_ours(web):
            return ok("port", f"{place} is used by a monitor that runs already")
        problem, _, remedy = str(err).partition("; ")
        return fail("port", problem, remedy)
    return ok("port", f"{place} is free")


def _is_ours(web: WebConfig) -> bool:
    connection = http.client.HTTPConnection(web.host, web.port, timeout=2)
    try:
        connection.request("GET", "/healthz", headers={"Host": "localhost"})
        return connection.getresponse().getheader("Server") == "likeness-monitor"
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def check_packages(requires: Sequence[str] | None, installed: Collection[str]) -> Check:
    """Whether every package that this project's metadata asks for (``aiohttp>=3.12``) is there, by name.

    Families of which any one will do are left to ``check_rivals``. ``requires`` is None where the project runs from
    a folder without being installed.
    """
    if requires is None:
        return warn("packages", "unknown: the project is not installed", "install it: pip install --no-deps .")
    names = {re.split(r"[^A-Za-z0-9._-]", line)[0].lower() for line in requires if "extra ==" not in line}
    needed = names - {name for family in RIVALS.values() for name in family}
    missing = sorted(needed - set(installed))
    if missing:
        return fail("packages", f"not installed: {', '.join(missing)}", "install the locked requirements")
    return ok("packages", f"{len(needed)} needed, all there")


def project_requires() -> Sequence[str] | None:
    """What the installed project's metadata asks for; None when it is not installed."""
    try:
        return metadata.requires("likeness-monitor") or ()
    except metadata.PackageNotFoundError:
        return None
