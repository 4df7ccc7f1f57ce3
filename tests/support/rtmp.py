"""A real RTMP server (nginx with its rtmp module) and a real publisher (ffmpeg)."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_MODULE = Path("/usr/lib/nginx/modules/ngx_rtmp_module.so")


def missing_programs() -> str:
    """What is not installed, as a reason to skip a test; empty if all is there."""
    missing = [name for name in ("nginx", "ffmpeg") if shutil.which(name) is None and not _sbin(name)]
    if not _MODULE.exists():
        missing.append("libnginx-mod-rtmp")
    return f"not installed: {', '.join(missing)}" if missing else ""


def _sbin(name: str) -> str | None:
    path = Path("/usr/sbin") / name
    return str(path) if path.exists() else None


def free_port() -> int:
    """A port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True, slots=True)
class RtmpServer:
    """A running nginx-rtmp."""

    port: int
    http_port: int
    www: Path
    """What lies here is served over HTTP."""

    def url(self, key: str) -> str:
        """The address of the room ``key``."""
        return f"rtmp://127.0.0.1:{self.port}/live/{key}"

    def http_url(self, path: str) -> str:
        """The address of a file below ``www``."""
        return f"http://127.0.0.1:{self.http_port}/{path}"


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def nginx_rtmp(folder: Path, directives: str = "", *, chunk_size: int = 4096) -> Iterator[RtmpServer]:
    """nginx-rtmp and nginx on free ports, with files in ``folder`` and more ``directives`` for the application.

    In ``directives`` WWW stands for the folder that is served over HTTP.
    """
    port, http_port, www = free_port(), free_port(), folder / "www"
    www.mkdir()
    directives = directives.replace("WWW", str(www))
    (folder / "nginx.conf").write_text(
        f"""load_module {_MODULE};
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 128; }}
rtmp {{ server {{ listen 127.0.0.1:{port}; chunk_size {chunk_size};
  application live {{ live on; idle_streams off; drop_idle_publisher 5s; {directives} }} }} }}
http {{ access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{ listen 127.0.0.1:{http_port}; root {www}; }} }}
"""
    )
    command = [shutil.which("nginx") or "/usr/sbin/nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _await_port(process, port)
        yield RtmpServer(port, http_port, www)
    finally:
        _stop(process)


def _await_port(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise RuntimeError("nginx did not come up")


@contextmanager
def publisher(clip: Path, url: str, *, loop: bool = True) -> Iterator[subprocess.Popen[bytes]]:
    """ffmpeg publishes ``clip`` to ``url`` in real time, without encoding it again."""
    repeat = ["-stream_loop", "-1"] if loop else []
    command = ["ffmpeg", "-v", "error", "-re", *repeat, "-i", str(clip), "-c", "copy", "-f", "flv", url]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        _stop(process)
