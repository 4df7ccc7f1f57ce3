"""Settings of the streaming servers' webhooks."""

from __future__ import annotations

import string
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from monitor.streams.kinds import BUILT_IN_SCHEMES, installed_kinds, network_address
from monitor.streams.stream import BroadcastKind

_LEAST_SECRET = 16
_LEAST_KEY = 8
"""Of a platform's signature: its console limits the length."""


class HookType(StrEnum):
    """The servers whose events are understood; also the last part of the hook's address."""

    SRS = "srs"
    NGINX_RTMP = "nginx-rtmp"
    MEDIAMTX = "mediamtx"
    TENCENT = "tencent"
    ALIBABA = "alibaba"


HOOK_FIELDS: Mapping[HookType, tuple[str, ...]] = MappingProxyType(
    {
        HookType.SRS: ("vhost", "app", "stream"),
        HookType.NGINX_RTMP: ("app", "name"),
        HookType.MEDIAMTX: ("path",),
        HookType.TENCENT: ("app", "appname", "stream_id"),
        HookType.ALIBABA: ("app", "appname", "id"),
    }
)
"""What names a stream on each server, under the server's own words; templates are filled with these only."""


def template_fields(template: str) -> tuple[str, ...]:
    """The names in ``template``: ``{app}/{name}`` has app and name.

    :raises ValueError: a brace is left open, or something other than a plain name stands between two.
    """
    names = []
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as err:
        raise ValueError("a brace is left open or closed twice; write {field}") from err
    for _, name, spec, conversion in parts:
        if name is None:
            continue
        if spec or conversion or not name.isidentifier():
            raise ValueError(f"{{{name}}} is not allowed: only a plain name may stand between braces")
        names.append(name)
    return tuple(names)


class HookConfig(BaseModel):
    """One streaming server that says which rooms go on and off the air."""

    # A bad value may be a secret: an error names the key, never what stood there.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    type: HookType = Field(description="srs, nginx-rtmp, mediamtx, tencent or alibaba: who calls /hooks/<type>.")
    name: str = Field(
        pattern=r"^[a-z0-9][a-z0-9-]{0,13}$",
        description="Unique; the ids of the rooms begin with it. Lower-case letters, digits and -, at most 14.",
    )
    secret: SecretStr = Field(
        description="srs, nginx-rtmp, mediamtx: at least 16 characters, which the server sends as ?secret=... or in "
        "the header X-Hook-Secret. tencent, alibaba: the key of the callback's signature."
    )
    url: str = Field(
        repr=False,
        max_length=2000,
        description="Where a room is read: an address with {field}s of the event after its host, such as "
        "rtmp://10.0.0.5/{app}/{name}.",
    )
    platform: str = Field(min_length=1, max_length=64, description="The platform, as permissions name it.")
    account: str = Field(
        min_length=1, max_length=256, description="The account, as permissions name it; with {field}s."
    )
    room: str = Field(min_length=1, max_length=256, description="The room's name on the platform; with {field}s.")
    kind: BroadcastKind = Field(BroadcastKind.LIVE, description="live, digital_human or rebroadcast.")
    domain: str | None = Field(
        None,
        max_length=253,
        description="alibaba: the host in the callback's address, which is part of its signature. null: the host that "
        "was asked.",
    )
    replay_window_s: float = Field(
        300.0,
        ge=5,
        le=3600,
        description="tencent, alibaba: seconds that a signature's time may differ from this machine's clock.",
    )
    forget_after_s: float = Field(
        3600.0,
        ge=10,
        le=604_800,
        description="Seconds without a picture after which a room is forgotten although no event said that it ended.",
    )

    @field_validator("url")
    @classmethod
    def _leaves_the_host_alone(cls, value: str) -> str:
        scheme, parts = urlsplit(value).scheme, urlsplit(network_address(value))
        if scheme in ("", "file") or scheme not in (*BUILT_IN_SCHEMES, *installed_kinds()):
            raise ValueError("must be an address of the network: rtmp://10.0.0.5/{app}/{name}")
        if not parts.hostname or "{" in parts.netloc:
            raise ValueError("must have a host, and no {field} before the path: who publishes may not choose the host")
        return value

    @model_validator(mode="after")
    def _fits_its_type(self) -> HookConfig:
        known = HOOK_FIELDS[self.type]
        for key in ("url", "account", "room"):
            try:
                unknown = [name for name in template_fields(getattr(self, key)) if name not in known]
            except ValueError as err:
                raise ValueError(f"{key}: {err}") from err
            if unknown:
                raise ValueError(f"{key}: {{{unknown[0]}}} is no field of {self.type}; allowed: {', '.join(known)}")
        least = _LEAST_KEY if self.type in (HookType.TENCENT, HookType.ALIBABA) else _LEAST_SECRET
        if len(self.secret.get_secret_value()) < least:
            raise ValueError(f"secret: must have at least {least} characters; make one with: openssl rand -hex 16")
        return self
