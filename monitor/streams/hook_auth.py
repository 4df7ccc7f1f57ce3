"""Who may call a hook: a shared secret, or the platform's own signature."""

from __future__ import annotations

import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Mapping
from enum import StrEnum

from monitor.streams.hook_config import HookConfig, HookType
from monitor.streams.hooks import HookCall

_TENCENT_LIFE_S = 600.0
"""How long Tencent's signatures are valid: ``t`` is when one expires, not when it was made."""
_MOST_REMEMBERED = 10_000


class HookDoubt(StrEnum):
    """Why a call is not believed."""

    BAD_SECRET = "bad_secret"
    """The secret or signature is missing or wrong."""
    EXPIRED = "expired"
    """The signature is right, but its time is too far from now."""


def doubt(hook: HookConfig, call: HookCall, raw: Mapping[str, str], *, now: float) -> HookDoubt | None:
    """Why the call was not made by ``hook``'s server; None if it was.

    :param raw: the call's fields.
    :param now: UTC, seconds since 1970.
    """
    key = hook.secret.get_secret_value()
    if hook.type is HookType.TENCENT:
        stamp = raw.get("t", "")
        if not _same(raw.get("sign", "").lower(), _md5(f"{key}{stamp}")):
            return HookDoubt.BAD_SECRET
        return _in_time(stamp, now, earliest_s=0.0, latest_s=_TENCENT_LIFE_S, slack_s=hook.replay_window_s)
    if hook.type is HookType.ALIBABA:
        stamp = call.headers.get("ali-live-timestamp", "")
        domain = hook.domain or call.host
        if not _same(call.headers.get("ali-live-signature", "").lower(), _md5(f"{domain}|{stamp}|{key}")):
            return HookDoubt.BAD_SECRET
        return _in_time(stamp, now, earliest_s=0.0, latest_s=0.0, slack_s=hook.replay_window_s)
    given = call.headers.get("x-hook-secret") or call.query.get("secret", "")
    return None if _same(given, key) else HookDoubt.BAD_SECRET


def fingerprint(hook: HookConfig, call: HookCall) -> bytes | None:
    """What a repetition of the same signed call has in common with it; None where nothing in a call is signed."""
    if hook.type not in (HookType.TENCENT, HookType.ALIBABA):
        return None
    signed = (
        call.headers.get("ali-live-signature", ""),
        *sorted(f"{key}={value}" for key, value in call.query.items()),
    )
    return hashlib.sha256("\0".join((hook.name, *signed)).encode(errors="surrogatepass") + call.body).digest()


class SeenCalls:
    """Remembers signed calls for as long as their signatures are valid, so that each counts once."""

    def __init__(self) -> None:
        self._seen: OrderedDict[bytes, float] = OrderedDict()

    def is_new(self, call: bytes, *, now: float, valid_s: float) -> bool:
        """Whether ``call`` was not seen in the last ``valid_s`` seconds; it counts as seen from now on."""
        while self._seen and (len(self._seen) > _MOST_REMEMBERED or next(iter(self._seen.values())) < now):
            self._seen.popitem(last=False)
        until = self._seen.get(call)
        if until is not None and until >= now:
            return False
        self._seen[call] = now + valid_s
        return True


def valid_s(hook: HookConfig) -> float:
    """The longest that a signature of ``hook`` is believed, seconds."""
    return 2 * hook.replay_window_s + (_TENCENT_LIFE_S if hook.type is HookType.TENCENT else 0.0)


def _in_time(stamp: str, now: float, *, earliest_s: float, latest_s: float, slack_s: float) -> HookDoubt | None:
    if not stamp.isascii() or not stamp.isdigit() or len(stamp) > 12:
        return HookDoubt.EXPIRED
    ahead = int(stamp) - now
    return None if earliest_s - slack_s <= ahead <= latest_s + slack_s else HookDoubt.EXPIRED


def _md5(text: str) -> str:
    # Not for secrecy on our side: the platforms sign so.
    return hashlib.md5(text.encode(errors="surrogatepass"), usedforsecurity=False).hexdigest()


def _same(given: str, expected: str) -> bool:
    """Compared in constant time; of a digest each, so that the length tells nothing either."""
    digests = (hashlib.sha256(text.encode(errors="surrogatepass")).digest() for text in (given, expected))
    return hmac.compare_digest(*digests)
