"""Every error this project raises on purpose, as one tree.

::

    MonitorError
    |-- ConfigError            a setting is wrong: names file, key, value and what is allowed
    |-- StreamError            a stream cannot be read on; carries a StreamReason and whether to retry
    |   `-- AddressRefused     the address guard refused a URL
    |-- StreamRefused          the list of streams may not be changed so; carries a StreamRefusal
    |-- PackError              a model pack or provider is missing, altered or unusable
    |-- FrameLost              one picture could not be analysed (worker died, timed out, broken data)
    |-- ImageRefused           an image file cannot be used (unreadable, too large)
    |-- GalleryError           an identity's folder cannot be used
    |-- StorageError           the database cannot be used
    |-- EvidenceError          evidence could not be written
    |-- DaemonRefused          a running daemon could not be asked, or refused
    `-- DeliveryError          a receiver did not accept an alert; says whether to try again

Foreign errors (libav, aiohttp, SQLAlchemy, ONNX Runtime) are translated at the border, ``from err``.
"""

from __future__ import annotations

from enum import StrEnum


class MonitorError(Exception):
    """Base of every error raised on purpose; its message is fit to be shown to an operator."""


class ConfigError(MonitorError):
    """A setting is wrong. The message names file, key, value and what is allowed."""


class StreamReason(StrEnum):
    """Why a stream is in the state it is in: the log field, the metric label and the API's word."""

    STARTING = "starting"
    RECEIVING = "receiving"
    REMOVED = "removed"
    END_OF_STREAM = "end_of_stream"
    CLOSED_BY_PEER = "closed_by_peer"
    REFUSED = "connection_refused"
    NOT_FOUND = "not_found"
    FORBIDDEN = "forbidden"
    HTTP_ERROR = "http_error"
    ADDRESS_REFUSED = "address_refused"
    UNRESOLVED = "name_not_resolved"
    OPEN_TIMEOUT = "open_timeout"
    READ_TIMEOUT = "read_timeout"
    NO_KEYFRAME = "no_keyframe"
    PLAYLIST_FROZEN = "playlist_frozen"
    BAD_PLAYLIST = "bad_playlist"
    BAD_DATA = "bad_data"
    NO_VIDEO = "no_video"
    EMPTY_FILE = "empty_file"
    FILE_MISSING = "file_missing"
    UNSUPPORTED = "unsupported"
    TOO_LARGE = "too_large"
    OVER_BUDGET = "over_budget"
    """More requests or bytes than one stream is allowed."""
    TIME_STUCK = "time_stuck"
    """Pictures come, but their time stamps stand still or go back."""
    KEYFRAMES_RARE = "keyframes_rare"
    """Live, but with a keyframe less often than two sampling intervals."""
    ANALYSIS_BEHIND = "analysis_behind"
    """Live and sampled, but the samples wait or are replaced before they are looked at."""


class StreamError(MonitorError):
    """A stream cannot be read on. ``str(error)`` holds no URL, query or secret.

    :param reason: the one word for logs and metrics.
    :param retryable: whether the supervisor should connect again.
    """

    def __init__(self, reason: StreamReason, detail: str = "", *, retryable: bool = True) -> None:
        super().__init__(f"{reason}: {detail}" if detail else str(reason))
        self.reason = reason
        self.detail = detail
        self.retryable = retryable


class AddressRefused(StreamError):
    """The address guard refused a URL; ``detail`` names the host's address and the remedy."""

    def __init__(self, detail: str) -> None:
        super().__init__(StreamReason.ADDRESS_REFUSED, detail, retryable=False)


class StreamRefusal(StrEnum):
    """Why a change to the list of streams was refused: the API's word."""

    UNKNOWN = "unknown_stream"
    EXISTS = "exists"
    PROVISIONED = "provisioned"
    """It stands in the streams file; only that file changes it."""
    OWNED_BY_HOOK = "owned_by_hook"
    """A streaming server's events change it."""
    ADDRESS = "address_refused"
    TOO_MANY = "too_many_streams"


class StreamRefused(MonitorError):
    """A change to the list of streams was refused; the message names the stream and the remedy, and no URL."""

    def __init__(self, reason: StreamRefusal, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class PackError(MonitorError):
    """A model pack or a provider is missing, altered or unusable; the message names the remedy."""


class FrameLossReason(StrEnum):
    """Why one picture was not analysed."""

    WORKER_DIED = "worker_died"
    TIMED_OUT = "timed_out"
    UNDECODABLE = "undecodable"
    QUARANTINED = "quarantined"
    """The same bytes ended two workers before."""
    CLOSING = "closing"


class FrameLost(MonitorError):
    """One picture could not be analysed; the stream goes on."""

    def __init__(self, reason: FrameLossReason, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else str(reason))
        self.reason = reason


class ImageRefused(MonitorError):
    """An image file cannot be used: unreadable, empty or too large; the message says which."""


class GalleryError(MonitorError):
    """An identity's folder cannot be used; the message names file, key, value and what is allowed."""


class StorageError(MonitorError):
    """The database cannot be opened, migrated or written."""


class EvidenceError(MonitorError):
    """Evidence could not be rendered or written."""


class DaemonRefused(MonitorError):
    """A running daemon could not be asked, or refused what a command wanted; the message says what to do."""


class DeliveryError(MonitorError):
    """A receiver did not accept an alert.

    :param retryable: whether the dispatcher should try again.
    :param retry_after_s: seconds the receiver asked to be left alone, if it said.
    :param disable: the receiver said that it is gone for good (HTTP 410).
    """

    def __init__(
        self, detail: str, *, retryable: bool = True, retry_after_s: float | None = None, disable: bool = False
    ) -> None:
        super().__init__(detail)
        self.retryable = retryable
        self.retry_after_s = retry_after_s
        self.disable = disable
