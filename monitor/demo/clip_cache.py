"""Keeps made clips, so that the second start of the demo need not make them again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from monitor.errors import MonitorError

_MAKERS = ("carphone.py", "clip.py", "face_swap.py", "portraits.py", "room_clip.py", "shop_overlay.py")


def cached_clip(
    cache_dir: Path, name: str, *, inputs: Sequence[Path], settings: str, make: Callable[[Path], None]
) -> Path:
    """The clip file ``name`` of these inputs, made now if it is not in ``cache_dir``; older ones of that name go.

    Found by a digest over the inputs' content, the settings and the code that makes clips.

    :param settings: everything else that ``make`` depends on.
    :param make: writes the clip to the path that it is given.
    :raises MonitorError: when an input or the folder cannot be used.
    """
    try:
        target = cache_dir / f"{name}-{_digest(inputs, settings)[:16]}.mp4"
        if not target.is_file():
            make(target)
            for older in cache_dir.glob(f"{name}-{'[0-9a-f]' * 16}.mp4"):
                if older != target:
                    older.unlink(missing_ok=True)
    except OSError as err:
        raise MonitorError(f"clip {name}: {err.filename or cache_dir}: {err.strerror}") from err
    return target


def _digest(inputs: Sequence[Path], settings: str) -> str:
    total = hashlib.sha256(settings.encode())
    for path in (*inputs, *(Path(__file__).with_name(maker) for maker in _MAKERS)):
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()
