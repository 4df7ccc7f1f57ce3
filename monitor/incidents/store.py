"""What the incident book needs of the database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from monitor.incidents.incident import Incident, TimelineEntry, Transition


class IncidentStore(Protocol):
    """Keeps incidents. Each call is one transaction: when it returns, everything in it is on disk."""

    async def load_open(self) -> Sequence[Incident]:
        """All incidents that are open, in the order in which they were opened.

        :raises StorageError: the database cannot be read.
        """

    async def save(
        self, incident: Incident, *, timeline: Sequence[TimelineEntry] = (), transition: Transition | None = None
    ) -> None:
        """Write the incident's state and the timeline's new lines.

        :param transition: to be told to every receiver, in the words of the timeline's first line.

        :raises StorageError: nothing of it was written.
        """
