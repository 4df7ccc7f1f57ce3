"""The steps of an incident's life as pure functions: each returns the next state and what is to be told of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from ulid import ULID

from monitor.faces.face import PackInfo
from monitor.gallery.identity import Identity
from monitor.incidents.incident import Decision, Incident, IncidentKey, IncidentState, TimelineEntry, Transition
from monitor.incidents.totals import Totals
from monitor.sightings.sighting import Sighting
from monitor.streams.stream import Stream


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One step: the incident after it, the timeline's line, and what receivers are told, if anything."""

    incident: Incident
    entry: TimelineEntry
    transition: Transition | None


def transition_of(before: Decision, after: Decision) -> Transition | None:
    """What receivers are told when the decision about an incident goes from ``before`` to ``after``."""
    if before is after:
        return None
    if not before.is_violation:
        return Transition.OPENED
    return Transition.UPDATED if after.is_violation else Transition.RESOLVED


def begin(
    key: IncidentKey,
    *,
    stream: Stream,
    identity: Identity,
    sighting: Sighting,
    pack: PackInfo,
    decision: Decision,
    detail: str,
    now: datetime,
) -> Change:
    """The first state of an incident."""
    best = sighting.best
    totals = Totals().plus(sighting)
    consent = identity.consent
    incident = Incident(
        id=str(ULID.from_datetime(now)),
        key=key,
        identity_name=identity.name,
        consent=f"{consent.basis}, {consent.date}, {consent.reference}",
        stream_id=stream.id,
        state=IncidentState.OPEN,
        decision=decision,
        decision_detail=detail,
        title=stream.title,
        products=stream.products,
        similarity=best.match.best.similarity,
        margin=best.match.margin,
        similarity_threshold=pack.similarity_threshold,
        samples_matched=totals.samples_matched,
        samples_seen=totals.samples_seen,
        face_height_px=best.box.height,
        seconds_on_screen=totals.seconds,
        first_seen_at=sighting.first_seen,
        opened_at=now,
        last_seen_at=sighting.last_seen,
        violation_since=now if decision.is_violation else None,
        stream_time_first=sighting.stream_time_first,
        sequence=1 if decision.is_violation else 0,
    )
    transition = Transition.OPENED if decision.is_violation else None
    return Change(incident=incident, entry=_entry(incident, transition or "permitted", now), transition=transition)


def seen_again(incident: Incident, sighting: Sighting, totals: Totals) -> Incident:
    """The incident with what ``sighting`` adds; ``totals`` include it."""
    best = sighting.best
    longer = replace(
        incident,
        samples_matched=totals.samples_matched,
        samples_seen=totals.samples_seen,
        seconds_on_screen=totals.seconds,
        last_seen_at=max(incident.last_seen_at, sighting.last_seen),
    )
    if best.match.best.similarity <= incident.similarity:
        return longer
    return replace(
        longer,
        similarity=best.match.best.similarity,
        margin=best.match.margin,
        face_height_px=best.box.height,
    )


def judge_again(incident: Incident, decision: Decision, detail: str, now: datetime) -> Change | None:
    """What another decision changes, or None if it is the same one."""
    transition = transition_of(incident.decision, decision)
    if transition is None:
        return None
    since = now if transition is Transition.OPENED else incident.violation_since
    after = replace(
        incident,
        decision=decision,
        decision_detail=detail,
        violation_since=since,
        sequence=incident.sequence + 1,
    )
    event = transition if decision.is_violation else "permitted"
    return Change(incident=after, entry=_entry(after, event, now), transition=transition)


def close(incident: Incident, now: datetime, unseen_s: float) -> Change:
    """The last state of an incident whose likeness has been gone for ``unseen_s`` seconds."""
    transition = Transition.RESOLVED if incident.decision.is_violation else None
    after = replace(
        incident,
        state=IncidentState.CLOSED,
        closed_at=now,
        sequence=incident.sequence + (1 if transition else 0),
    )
    entry = TimelineEntry(
        incident_id=incident.id,
        at=now,
        event=transition or "closed",
        reason="likeness_gone",
        detail=f"not seen for {unseen_s:.0f} s",
    )
    return Change(incident=after, entry=entry, transition=transition)


def _entry(incident: Incident, event: str, now: datetime) -> TimelineEntry:
    return TimelineEntry(
        incident_id=incident.id,
        at=now,
        event=event,
        reason=incident.decision,
        detail=incident.decision_detail,
    )
