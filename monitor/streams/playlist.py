"""What an HLS playlist says (RFC 8216), as far as watching a room needs it."""

from __future__ import annotations

from dataclasses import dataclass, field

import m3u8  # type: ignore[import-untyped]

from monitor.errors import StreamError, StreamReason
from monitor.streams.http import ByteRange, Fetched

_POLL_MIN_S, _POLL_MAX_S = 0.25, 1.0
_FROZEN_MIN_S, _FROZEN_TARGETS = 5.0, 3.0
_MAX_SEGMENTS = 20_000
_MAX_TARGET_S = 30.0
"""A playlist that claims longer segments could hide a dead room for as long as it likes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentKey:
    """What an AES-128 segment is encrypted with."""

    url: str = field(repr=False)
    iv: bytes = field(repr=False)
    """16 bytes: the tag's, or the media sequence number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One media segment of a playlist."""

    number: int
    """Media sequence number."""
    url: str = field(repr=False)
    part: ByteRange | None
    seconds: float
    discontinuity: bool
    init_url: str | None = field(repr=False)
    """fMP4's initialisation section."""
    init_part: ByteRange | None
    key: SegmentKey | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaPlaylist:
    """A playlist of segments."""

    target_s: float
    ended: bool
    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One rendition of a master playlist."""

    url: str = field(repr=False)
    height: int
    """Pixels; 0 if the playlist does not say."""
    width: int = 0
    bandwidth: int
    """Bits a second."""
    iframes_url: str | None = field(default=None, repr=False)
    """A playlist of the same pictures' keyframes alone."""

    @property
    def lines(self) -> int:
        """The shorter side, as in "480p": a phone's upright picture is no taller for faces than a lying one."""
        return min(self.width or self.height, self.height)


def choose_variant(variants: list[Variant], least_lines: int) -> Variant:
    """The cheapest rendition of at least ``least_lines``, else the tallest."""
    good = [variant for variant in variants if variant.lines >= least_lines]
    if good:
        return min(good, key=lambda variant: variant.bandwidth)
    return max(variants, key=lambda variant: (variant.lines, variant.bandwidth))


def poll_after(target_s: float) -> float:
    """Seconds between two looks at a live playlist."""
    return min(_POLL_MAX_S, max(_POLL_MIN_S, target_s / 2))


def frozen_after(target_s: float) -> float:
    """Seconds after which a live playlist that gains no segment counts as frozen."""
    return max(_FROZEN_MIN_S, _FROZEN_TARGETS * target_s)


def parse(fetched: Fetched) -> MediaPlaylist | list[Variant]:
    """A media playlist, or the variants of a master playlist that carry video.

    :raises StreamError: BAD_PLAYLIST, NO_VIDEO; UNSUPPORTED for segments encrypted otherwise than with AES-128.
    """
    text = fetched.body.decode("utf-8", errors="replace").lstrip("\ufeff")
    if not text.startswith("#EXTM3U"):
        raise StreamError(StreamReason.BAD_PLAYLIST, "the playlist does not begin with #EXTM3U")
    # Counted before anything is parsed: parsing is what an endless playlist makes expensive.
    if text.count("#EXTINF") + text.count("#EXT-X-PART") > _MAX_SEGMENTS:
        raise StreamError(StreamReason.TOO_LARGE, f"more than {_MAX_SEGMENTS} segments in the playlist")
    try:
        playlist = m3u8.loads(text, uri=fetched.url)
        return _variants(playlist) if playlist.is_variant else _media(playlist)
    # The parser has no error of its own: a broken attribute surfaces as whatever Python call met it.
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError) as err:
        raise StreamError(StreamReason.BAD_PLAYLIST, f"the playlist is malformed ({type(err).__name__})") from err


def _variants(playlist: m3u8.M3U8) -> list[Variant]:
    found = []
    iframes = {
        entry.iframe_stream_info.resolution: entry.absolute_uri
        for entry in playlist.iframe_playlists
        if entry.iframe_stream_info.resolution
    }
    for entry in playlist.playlists:
        info = entry.stream_info
        codecs = (info.codecs or "").split(",")
        if info.codecs and all(codec.strip().startswith(("mp4a", "ac-3", "ec-3", "opus")) for codec in codecs):
            continue
        width, height = info.resolution or (0, 0)
        found.append(
            Variant(
                url=entry.absolute_uri,
                width=width,
                height=height,
                bandwidth=info.bandwidth or 0,
                # Pictures of another size would be another timeline, and what is followed there begins anew.
                iframes_url=iframes.get(info.resolution) if info.resolution else None,
            )
        )
    if not found:
        raise StreamError(StreamReason.NO_VIDEO, "no rendition of the master playlist carries video")
    return found


def _media(playlist: m3u8.M3U8) -> MediaPlaylist:
    segments: list[Segment] = []
    follows: dict[str, int] = {}
    first = playlist.media_sequence or 0
    for number, entry in enumerate(playlist.segments, first):
        # Low-latency parts that are not a whole segment yet, and segments that the server says it lost.
        if not entry.uri or entry.gap_tag:
            continue
        init = entry.init_section
        segments.append(
            Segment(
                number=number,
                url=entry.absolute_uri,
                part=_part(entry.byterange, entry.absolute_uri, follows),
                seconds=max(0.0, float(entry.duration or 0)),
                discontinuity=bool(entry.discontinuity),
                init_url=init.absolute_uri if init else None,
                init_part=_part(init.byterange, "", {}) if init else None,
                key=_key(entry.key, number),
            )
        )
    longest = max((segment.seconds for segment in segments), default=2.0)
    return MediaPlaylist(
        target_s=min(_MAX_TARGET_S, float(playlist.target_duration or longest)),
        ended=bool(playlist.is_endlist),
        segments=tuple(segments),
    )


def _key(key: m3u8.Key | None, number: int) -> SegmentKey | None:
    if key is None or key.method in (None, "", "NONE"):
        return None
    if key.method != "AES-128" or (key.keyformat or "identity") != "identity":
        raise StreamError(StreamReason.UNSUPPORTED, f"segments encrypted with {key.method}", retryable=False)
    iv = bytes.fromhex(key.iv[2:].zfill(32)) if key.iv else number.to_bytes(16)
    if not key.uri or len(iv) != 16:
        raise ValueError("key")
    return SegmentKey(url=key.absolute_uri, iv=iv)


def _part(text: str | None, url: str, follows: dict[str, int]) -> ByteRange | None:
    """``length[@start]``; without a start it follows the last part of the same resource."""
    if not text:
        return None
    length, _, start = str(text).strip('"').partition("@")
    part = ByteRange(start=int(start) if start else follows.get(url, 0), length=int(length))
    if part.start < 0 or part.length <= 0:
        raise ValueError("byte range")
    follows[url] = part.start + part.length
    return part
