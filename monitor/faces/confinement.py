"""What a worker process may not do any more once it has its networks: it meets hostile data next.

Linux has all of it; elsewhere only what there is of it is done.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import resource
import signal
import stat
import sys
from pathlib import Path

from monitor.errors import PackError
from monitor.faces.config import FacesConfig, Provider

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_OPEN_FILES = 32
"""A job opens none; the loaded worker holds under ten."""
_CPU_PROVIDERS: tuple[Provider, ...] = ("cpu", "openvino")


def die_with_parent() -> None:
    """Ask Linux to kill this process when the thread that started it ends, even in the middle of a job."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def confine(config: FacesConfig, provider: str) -> None:
    """Limit this process for good. Call it once everything is loaded: files cannot be written afterwards.

    :param provider: what runs the networks; drivers of graphics cards reserve address space without bound and
        open files as they go, so with them only the privileges are lowered.
    :raises PackError: if ``faces.worker_user`` cannot be had.
    """
    if provider in _CPU_PROVIDERS:
        limit_memory(config.worker_memory_bytes)
        resource.setrlimit(resource.RLIMIT_NOFILE, (_OPEN_FILES, _OPEN_FILES))
        # Where the log is a file of its own, a worker must still be able to say why it ends.
        if not stat.S_ISREG(os.fstat(sys.stderr.fileno()).st_mode):
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    lower_privileges(config)


def lower_privileges(config: FacesConfig) -> None:
    """Become ``faces.worker_user``, where one is named, and never more than that again; and leave no picture of
    memory behind, which holds faces.

    :raises PackError: if the user cannot be had.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if config.worker_user is not None:
        become(config.worker_user)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def limit_memory(headroom: int) -> None:
    """Let this process map no more than ``headroom`` bytes beyond what it has mapped now."""
    mapped = Path("/proc/self/statm")
    if mapped.exists():
        most = int(mapped.read_text().split()[0]) * resource.getpagesize() + headroom
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def become(user: str) -> None:
    """Give up root's rights for those of ``user``.

    :raises PackError: if there is no such user, or this process is not root's.
    """
    try:
        entry = pwd.getpwnam(user)
        os.setgroups([])
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
    except KeyError as err:
        raise PackError(f"faces.worker_user {user!r}: there is no such user here") from err
    except PermissionError as err:
        raise PackError(f"faces.worker_user {user!r}: only a daemon that root started can use it") from err
    # A change of user clears it.
    die_with_parent()


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
