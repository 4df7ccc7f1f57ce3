"""How much memory this process had at its highest."""

from __future__ import annotations

import resource
from pathlib import Path


def peak_memory() -> int:
    """Resident bytes. Linux: since the last exec; getrusage's value is inherited from whoever started the process."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
