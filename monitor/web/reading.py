"""What the pages and the API read, as they need it. The supervisor and the storage package satisfy these."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from monitor.alerts.delivery import Delivery
from monitor.incidents.incident import Decision, Incident, IncidentState, TimelineEntry
from monitor.streams.stream import StreamState, StreamStatus


class StatusReader(Protocol):
    """Knows how each stream is doing; the stream supervisor is one."""

    def status(self, stream_id: str) -> StreamStatus | None:
        """A stream's status now; None if it was not started yet."""

    def states(self) -> Mapping[str, StreamState]:
        """Stream id to its state now; a stream that was not started yet is left out."""


class IncidentReader(Protocol):
    """Reads what was recorded; the database is one."""

    async def page(
        self,
        *,
        limit: int,
        before: str | None = None,
        state: IncidentState | None = None,
        decisions: Collection[Decision] | None = None,
        identity_id: str | None = None,
        platform: str | None = None,
        account: str | None = None,
        room: str | None = None,
    ) -> Sequence[Incident]:
        """At most ``limit`` incidents, newest (highest id) first, all with an id below ``before``.

        A filter that is None filters nothing.

        :raises StorageError: the database cannot be read.
        """

    async def get(self, incident_id: str) -> Incident | None:
        """One incident, or None if there is none of that id.

        :raises StorageError: the database cannot be read.
        """

    async def timeline(self, incident_id: str) -> Sequence[TimelineEntry]:
        """What happened to an incident, oldest first.

        :raises StorageError: the database cannot be read.
        """

    async def deliveries(self, incident_id: str) -> Sequence[Delivery]:
        """How the alerts of an incident fared, oldest first.

        :raises StorageError: the database cannot be read.
        """
