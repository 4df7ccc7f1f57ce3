"""Settings of the pages and the API."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

_LEAST_TOKEN = 16


class WebConfig(BaseModel):
    """Where the pages are served."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field(
        "127.0.0.1",
        min_length=1,
        max_length=253,
        description="Address to listen on. The pages have no login: put a proxy with one in front before opening them.",
    )
    port: int = Field(8080, ge=0, le=65535, description="TCP port to listen on; 0 takes any free one.")
    base_url: str | None = Field(
        None,
        description="How people reach the pages, for the links in alerts: https://likeness.example.org. "
        "null: http://<host>:<port>.",
    )

    token: SecretStr | None = Field(
        None,
        description="Who sends it (Authorization: Bearer ...) may change the list of streams over the API; at least 16 "
        "characters. null: nobody may.",
    )

    @field_validator("token")
    @classmethod
    def _is_long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        text = value.get_secret_value() if value else ""
        if value and (len(text) < _LEAST_TOKEN or not text.isascii() or not text.isprintable() or " " in text):
            raise ValueError(
                f"must be at least {_LEAST_TOKEN} printable ASCII characters without a space; make one with: "
                "openssl rand -hex 24"
            )
        return value

    @field_validator("base_url")
    @classmethod
    def _is_a_plain_web_address(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("must be an http:// or https:// address with a host, or null")
        if parts.username is not None or parts.query or parts.fragment:
            raise ValueError("must hold no user name, query or fragment")
        return value.rstrip("/")

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the pages."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def base_host(self) -> str | None:
        """The host name in ``base_url``, lower case."""
        return urlsplit(self.base_url).hostname if self.base_url else None
