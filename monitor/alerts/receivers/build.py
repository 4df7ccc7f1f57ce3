"""The receivers that the settings ask for."""

from __future__ import annotations

import aiohttp

from monitor.alerts.config import AlertsConfig, LogReceiverConfig, WebhookReceiverConfig
from monitor.alerts.receiver import Receiver
from monitor.alerts.receivers.alertmanager import AlertmanagerReceiver
from monitor.alerts.receivers.log import LogReceiver
from monitor.alerts.receivers.webhook import WebhookReceiver


def build_receivers(config: AlertsConfig, session: aiohttp.ClientSession) -> tuple[Receiver, ...]:
    """One receiver per entry of the settings, in their order. ``session`` stays the caller's to close."""
    receivers: list[Receiver] = []
    for entry in config.receivers:
        if isinstance(entry, LogReceiverConfig):
            receivers.append(LogReceiver(entry))
        elif isinstance(entry, WebhookReceiverConfig):
            receivers.append(WebhookReceiver(entry, session))
        else:
            receivers.append(AlertmanagerReceiver(entry, session))
    return tuple(receivers)
