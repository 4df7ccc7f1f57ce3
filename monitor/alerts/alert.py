"""What a receiver is told of an incident's transition: all that the person on call needs to decide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any
from urllib.parse import quote

from pydantic import TypeAdapter, ValidationError

from monitor.alerts.severity import Severity, severity_of
from monitor.clock import iso_utc
from monitor.incidents.incident import Decision, Incident, Transition
from monitor.sightings.presence import Presence


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertLinks:
    """Where to look; pages of the daemon itself."""

    incident: str
    frame: str
    """The picture with the face boxed, of the newest evidence; there before the alert is sent, unless it could not be
    drawn."""
    crop: str
    """The face as it was shown."""
    reference: str
    """The enrolled photo's face that it resembles most."""
    runbook: str | None = None
    """What to do; the operator's own page."""

    @classmethod
    def to(cls, incident: Incident, *, web_base_url: str, runbook_url: str | None) -> AlertLinks:
        """The links of one incident. ``web_base_url`` has no slash at its end."""
        evidence = f"{web_base_url}/evidence/{quote(incident.evidence_folder, safe='')}"
        return cls(
            incident=f"{web_base_url}/incidents/{quote(incident.id, safe='')}",
            frame=f"{evidence}/frame.jpg",
            crop=f"{evidence}/crop.jpg",
            reference=f"{evidence}/reference.jpg",
            runbook=runbook_url,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One transition of one incident, as it was at that moment.

    A field that is added later needs a default: alerts that wait in the outbox of an older version lack it.
    """

    incident_id: str
    sequence: int
    """Orders the alerts of one incident."""
    transition: Transition
    at: datetime
    """UTC of the transition."""
    reason: str
    """One word: the decision; the presence where it is escalated; or ``likeness_gone``."""
    detail: str
    """``reason`` in words."""
    identity_id: str
    identity_name: str
    consent: str
    """On what ground the identity is enrolled."""
    decision: Decision
    decision_detail: str
    """The permission rule that was evaluated, in words."""
    platform: str
    account: str
    room: str
    stream_id: str
    title: str = ""
    products: tuple[str, ...] = ()
    other_rooms: tuple[str, ...] = ()
    """``platform/account/room`` of the other open incidents of this identity."""
    similarity: float
    """Highest cosine so far."""
    similarity_threshold: float
    margin: float
    """Cosine distance to the runner-up identity."""
    samples_matched: int
    samples_seen: int
    seconds_on_screen: float
    face_height_px: float
    stream_time_first: float
    """Stream time in seconds of the first proving picture."""
    first_seen_at: datetime
    opened_at: datetime
    violation_since: datetime
    last_seen_at: datetime
    links: AlertLinks
    presence: Presence = Presence.PRESENTER
    """How the likeness is shown, at its most prominent."""
    log_likelihood: float | None = None
    """Natural log of the likelihood ratio, this identity against a stranger, that the pictures were worth."""
    log_likelihood_needed: float | None = None
    """What the alert budget asked for."""

    @classmethod
    def about(
        cls,
        incident: Incident,
        transition: Transition,
        *,
        at: datetime,
        reason: str,
        detail: str,
        other_rooms: Sequence[str],
        links: AlertLinks,
    ) -> Alert:
        """The alert of ``incident`` in its state after ``transition``."""
        facts = asdict(incident)
        facts |= facts.pop("key")
        own = {field.name for field in fields(cls)}
        facts = {name: value for name, value in facts.items() if name in own}
        facts["violation_since"] = incident.violation_since or incident.opened_at
        return cls(
            **facts,
            incident_id=incident.id,
            transition=transition,
            at=at,
            reason=reason,
            detail=detail,
            other_rooms=tuple(other_rooms),
            links=links,
        )

    @property
    def severity(self) -> Severity:
        """Whether somebody is to be woken."""
        return severity_of(self.presence)

    @property
    def summary(self) -> str:
        """One line for a pager: who, where, and what is wrong."""
        where = f"{self.platform}/{self.account} in room {self.room}"
        if self.transition is Transition.RESOLVED:
            return f"{self.identity_name} on {where}: resolved, {self.detail}"
        how = "" if self.presence is Presence.PRESENTER else f" ({self.presence.replace('_', ' ')})"
        return f"{self.identity_name} shown by {where}{how}: {self.decision_detail}"

    @property
    def evidence(self) -> str:
        """What the pictures were worth and had to be, in words; empty where nobody noted it."""
        if self.log_likelihood is None or self.log_likelihood_needed is None:
            return ""
        return f"{self.log_likelihood:.1f}, needed {self.log_likelihood_needed:.1f} (natural logarithm of odds)"

    def to_dict(self) -> dict[str, Any]:
        """JSON's types only; times as ISO 8601 with a Z, similarities as cosines."""
        return {
            "incident_id": self.incident_id,
            "sequence": self.sequence,
            "transition": str(self.transition),
            "at": iso_utc(self.at),
            "summary": self.summary,
            "reason": self.reason,
            "detail": self.detail,
            "identity": {"id": self.identity_id, "name": self.identity_name, "consent": self.consent},
            "decision": str(self.decision),
            "decision_detail": self.decision_detail,
            "presence": str(self.presence),
            "severity": str(self.severity),
            "platform": self.platform,
            "account": self.account,
            "room": self.room,
            "stream_id": self.stream_id,
            "title": self.title,
            "products": list(self.products),
            "other_rooms": list(self.other_rooms),
            "similarity": round(self.similarity, 4),
            "similarity_threshold": round(self.similarity_threshold, 4),
            "margin": round(self.margin, 4),
            "log_likelihood": _rounded(self.log_likelihood),
            "log_likelihood_needed": _rounded(self.log_likelihood_needed),
            "samples_matched": self.samples_matched,
            "samples_seen": self.samples_seen,
            "seconds_on_screen": round(self.seconds_on_screen, 3),
            "face_height_px": round(self.face_height_px, 1),
            "stream_time_first": round(self.stream_time_first, 3),
            "first_seen_at": iso_utc(self.first_seen_at),
            "opened_at": iso_utc(self.opened_at),
            "violation_since": iso_utc(self.violation_since),
            "last_seen_at": iso_utc(self.last_seen_at),
            "links": asdict(self.links),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Alert:
        """The alert that ``to_dict`` of this or a similar version wrote, to the precision of the text.

        What this version does not know is ignored.

        :raises ValueError: it is not enough for an alert; says what is missing or wrong.
        """
        try:
            identity = data["identity"]
            flat = {"identity_id": identity["id"], "identity_name": identity["name"], "consent": identity["consent"]}
            return _READER.validate_python(data | flat)
        except ValidationError as err:
            first = err.errors(include_url=False)[0]
            raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from err
        except (KeyError, TypeError) as err:
            raise ValueError(f"identity: {type(err).__name__} {err}") from err


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


_READER = TypeAdapter(Alert)
