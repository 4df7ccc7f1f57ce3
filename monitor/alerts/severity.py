"""How urgent an alert is: what decides whether somebody is woken."""

from __future__ import annotations

from enum import StrEnum

from monitor.sightings.presence import Presence


class Severity(StrEnum):
    """As Prometheus' alerts are commonly labelled; the most urgent first."""

    CRITICAL = "critical"
    """Somebody presents with the likeness now: page."""
    WARNING = "warning"
    """An inset, a still picture, a poster behind somebody else: for the day's digest."""


def below(severity: Severity) -> tuple[Severity, ...]:
    """The less urgent ones."""
    ranked = tuple(Severity)
    return ranked[ranked.index(severity) + 1 :]


def severity_of(presence: Presence) -> Severity:
    """The urgency of a likeness that is shown so."""
    return Severity.CRITICAL if presence is Presence.PRESENTER else Severity.WARNING
