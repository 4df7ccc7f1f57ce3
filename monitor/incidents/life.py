"""The steps of an incident's life as pure functions: each returns the next state and what is to be told of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from ulid import ULID

from monitor.faces.face import PackInfo
from monitor.gallery.identity import Identity
from monitor.incidents.incident import (
    Decision,
    EvidenceRecord,
    Incident,
    IncidentKey,
    IncidentState,
    TimelineEntry,
    Transition,
)
from monitor.incidents.rules import Judgement
from monitor.incidents.totals import Totals
from monitor.sightings.sighting import Sample, Sighting
from monitor.streams.stream import Stream


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One step: the incident after it, and what is to be kept of it."""

    incident: Incident
    timeline: tuple[TimelineEntry, ...] = ()
    """The timeline's new lines; that of the transition is the first."""
    transition: Transition | None = None
    """What receivers are told, if anything."""


def transition_of(before: Decision, after: Decision) -> Transition | None:
    """What receivers are told when the decision about an incident goes from ``before`` to ``after``."""
    if before is after:
        return None
    if not before.is_violation:
        return Transition.OPENED
    return Transition.UPDATED if after.is_violation else Transition.RESOLVED


def begin(
    stream: Stream, identity: Identity, sighting: Sighting, pack: PackInfo, judgement: Judgement, now: datetime
) -> Change:
    """The first state of an incident."""
    best, consent = sighting.best, identity.consent
    violation = judgement.decision.is_violation
    incident = Incident(
        id=str(ULID.from_datetime(now)),
        key=IncidentKey.of(stream, identity),
        identity_name=identity.name,
        consent=f"{consent.basis}, {consent.date}, {consent.reference}",
        stream_id=stream.id,
        state=IncidentState.OPEN,
        decision=judgement.decision,
        decision_detail=judgement.detail,
        title=stream.title,
        products=stream.products,
        similarity=best.match.best.similarity,
        margin=best.match.margin,
        similarity_threshold=pack.similarity_threshold,
        samples_matched=sighting.samples_matched,
        samples_seen=sighting.samples_seen,
        face_height_px=best.box.height,
        seconds_on_screen=sighting.seconds,
        first_seen_at=sighting.first_seen,
        opened_at=now,
        last_seen_at=sighting.last_seen,
        violation_since=now if violation else None,
        stream_time_first=sighting.stream_time_first,
        sequence=1 if violation else 0,
        presence=sighting.presence,
        log_likelihood=sighting.log_likelihood,
        log_likelihood_needed=sighting.log_likelihood_needed,
    )
    return _told(incident, Transition.OPENED if violation else None, now)


def seen_again(incident: Incident, sighting: Sighting, totals: Totals, judgement: Judgement, now: datetime) -> Change:
    """The incident with what ``sighting`` adds, and what another decision changes; ``totals`` include the sighting."""
    seen = replace(
        _with_likelihood(_with_figures(incident, sighting.best), sighting),
        samples_matched=totals.samples_matched,
        samples_seen=totals.samples_seen,
        seconds_on_screen=totals.seconds,
        last_seen_at=max(incident.last_seen_at, sighting.last_seen),
        decision=judgement.decision,
        decision_detail=judgement.detail,
        presence=max(incident.presence, sighting.presence, key=lambda presence: presence.strength),
    )
    transition = transition_of(incident.decision, judgement.decision)
    if seen.presence is not incident.presence and transition in (None, Transition.UPDATED):
        return _more_prominent(incident, seen, now)
    if transition is None:
        return Change(incident=seen)
    since = now if transition is Transition.OPENED else incident.violation_since
    return _told(replace(seen, violation_since=since, sequence=incident.sequence + 1), transition, now)


def _more_prominent(before: Incident, seen: Incident, now: datetime) -> Change:
    """Told where it is a violation; a permitted likeness only has it noted."""
    violation = seen.decision.is_violation
    entry = TimelineEntry(
        incident_id=seen.id,
        at=now,
        event=Transition.ESCALATED,
        reason=seen.presence,
        detail=f"shown as {seen.presence}, until now as {before.presence}; {seen.decision_detail}",
    )
    ruled = () if seen.decision is before.decision else _told(seen, Transition.UPDATED, now).timeline
    return Change(
        incident=replace(seen, sequence=seen.sequence + (1 if violation else 0)),
        timeline=(entry, *ruled),
        transition=Transition.ESCALATED if violation else None,
    )


def with_evidence(change: Change, record: EvidenceRecord, now: datetime) -> Change:
    """``change`` with the evidence that was written for it; what there was before is kept."""
    before = change.incident
    entry = TimelineEntry(
        incident_id=before.id,
        at=now,
        event="evidence_recorded",
        reason="evidence_recorded",
        detail=f"manifest sha256 {record.manifest_sha256}"
        + (f", shown as {record.presence}" if before.evidence else ""),
    )
    incident = replace(before, evidence=(*before.evidence, record))
    return replace(change, incident=incident, timeline=(*change.timeline, entry))


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
    return Change(incident=after, timeline=(entry,), transition=transition)


def _told(incident: Incident, transition: Transition | None, now: datetime) -> Change:
    entry = TimelineEntry(
        incident_id=incident.id,
        at=now,
        event=transition if transition and incident.decision.is_violation else "permitted",
        reason=incident.decision,
        detail=incident.decision_detail,
    )
    return Change(incident=incident, timeline=(entry,), transition=transition)


def _with_figures(incident: Incident, best: Sample) -> Incident:
    """The incident with the figures of ``best``, if that is the better sample."""
    if best.match.best.similarity <= incident.similarity:
        return incident
    return replace(
        incident,
        similarity=best.match.best.similarity,
        margin=best.match.margin,
        face_height_px=best.box.height,
    )


def _with_likelihood(incident: Incident, sighting: Sighting) -> Incident:
    """The incident with what ``sighting`` was worth, if that is more than any before it was."""
    if incident.log_likelihood is not None and sighting.log_likelihood <= incident.log_likelihood:
        return incident
    return replace(
        incident, log_likelihood=sighting.log_likelihood, log_likelihood_needed=sighting.log_likelihood_needed
    )
