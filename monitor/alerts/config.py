"""Settings of the alerts and their receivers."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

_SECRET_PREFIX = "whsec_"
_SECRET_MIN_BYTES = 24
_FIXED_LABELS = frozenset({"alertname", "identity", "platform", "account", "room"})


def _checked_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be an http:// or https:// address with a host")
    return value


class _ReceiverConfig(BaseModel):
    # A bad value may be a secret: an error names the key, never what stood there.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: str = Field(
        pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$",
        description="Unique name of the receiver: lower-case letters, digits, - and _. Alerts not delivered yet "
        "belong to this name: keep it when the address changes.",
    )


class LogReceiverConfig(_ReceiverConfig):
    """Writes each alert as one line into the daemon's log."""

    type: Literal["log"] = Field(description="Writes each alert into the daemon's log.")


class WebhookReceiverConfig(_ReceiverConfig):
    """Posts each alert as JSON, signed as Standard Webhooks 1.0 says."""

    type: Literal["webhook"] = Field(description="Posts signed JSON (Standard Webhooks 1.0).")
    url: str = Field(repr=False, description="Address to post to, http or https. Redirects are failures.")
    secret: SecretStr = Field(
        description="Key of the signature, shared with the receiver: whsec_ and the base64 of at least 24 random bytes."
    )
    timeout_s: float = Field(10.0, ge=0.1, le=60.0, description="Seconds one attempt may take in all.")

    _check_url = field_validator("url")(_checked_url)

    @field_validator("secret")
    @classmethod
    def _is_a_standard_secret(cls, value: SecretStr) -> SecretStr:
        text = value.get_secret_value()
        try:
            key = base64.b64decode(text.removeprefix(_SECRET_PREFIX), validate=True)
        except (binascii.Error, ValueError):
            key = b""
        if not text.startswith(_SECRET_PREFIX) or len(key) < _SECRET_MIN_BYTES:
            raise ValueError(
                f"must be {_SECRET_PREFIX} followed by the base64 of at least {_SECRET_MIN_BYTES} bytes; "
                "make one with: echo whsec_$(openssl rand -base64 32)"
            )
        return value

    @property
    def key(self) -> bytes:
        """The signature's key."""
        return base64.b64decode(self.secret.get_secret_value().removeprefix(_SECRET_PREFIX))


class AlertmanagerReceiverConfig(_ReceiverConfig):
    """Keeps each open violation firing in a Prometheus Alertmanager."""

    type: Literal["alertmanager"] = Field(description="Posts to Alertmanager's API v2.")
    url: str = Field(repr=False, description="Alertmanager's address, without /api: http://127.0.0.1:9093")
    labels: dict[str, str] = Field(
        {},
        description="Labels added to every alert, for routing. alertname, identity, platform, account and room are set "
        "by the monitor, and severity too unless it stands here: critical for a likeness that presents, warning for an "
        "inset, a still picture or one in the background.",
    )
    timeout_s: float = Field(5.0, ge=0.1, le=60.0, description="Seconds one attempt may take in all.")

    _check_url = field_validator("url")(_checked_url)

    @field_validator("labels")
    @classmethod
    def _are_free(cls, value: dict[str, str]) -> dict[str, str]:
        taken = sorted(_FIXED_LABELS & value.keys())
        if taken:
            raise ValueError(f"{', '.join(taken)} set by the monitor itself; choose other names")
        bad = sorted(name for name in value if not name.isidentifier() or not name.isascii())
        if bad:
            raise ValueError(f"{', '.join(bad)}: a label's name has letters, digits and _ only, and no digit first")
        return value


ReceiverConfig = Annotated[
    LogReceiverConfig | WebhookReceiverConfig | AlertmanagerReceiverConfig, Field(discriminator="type")
]


class AlertsConfig(BaseModel):
    """Who is told of violations."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    runbook_url: str | None = Field(
        None, description="Your page that says what to do about an alert; linked in each. null: no link."
    )
    receivers: tuple[ReceiverConfig, ...] = Field(
        (LogReceiverConfig(type="log", name="log"),),
        description="Who is told, each with a type (log, webhook, alertmanager) and a unique name.",
    )

    @field_validator("runbook_url")
    @classmethod
    def _is_a_web_address(cls, value: str | None) -> str | None:
        return None if value is None else _checked_url(value)

    @field_validator("receivers")
    @classmethod
    def _have_unique_names(cls, value: tuple[ReceiverConfig, ...]) -> tuple[ReceiverConfig, ...]:
        names = [receiver.name for receiver in value]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"names must be unique; used more than once: {', '.join(twice)}")
        return value
