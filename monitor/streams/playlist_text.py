"""Reads the text of HLS playlists (RFC 8216).

As lenient as players are: unknown tags are passed over, and so are addresses that no tag announced. What would have
to be guessed makes the playlist malformed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from urllib.parse import urljoin

from monitor.errors import StreamError, StreamReason
from monitor.streams.http import ByteRange, Fetched
from monitor.streams.playlist import MediaPlaylist, Segment, SegmentKey, Variant

_MAX_SEGMENTS = 20_000
_MAX_TARGET_S = 30.0
"""A playlist that claims longer segments could hide a dead room for as long as it likes."""
_SILENT_CODECS = ("mp4a", "ac-3", "ec-3", "opus")
_MIN_TARGET_S = 0.1
"""Looks are counted in target durations, so none may be nothing."""
_MOST_ATTRIBUTES = 8_192
"""Characters of one attribute list, several times what signed addresses need."""
_PLAIN = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9_.~%/-]*(?:\?[A-Za-z0-9_.~%=&+-]*)?")


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
    lines = [line for raw in text.split("\n") if (line := raw.strip())]
    try:
        if any(line.startswith("#EXT-X-STREAM-INF:") for line in lines):
            return _variants(lines, fetched.url)
        return _Media(fetched.url).read(lines)
    except (ValueError, KeyError, OverflowError) as err:
        raise StreamError(StreamReason.BAD_PLAYLIST, f"the playlist is malformed ({type(err).__name__})") from err


class _Media:
    """A media playlist that is being read line by line."""

    def __init__(self, base: str) -> None:
        self._base = base
        self._folder = _folder(base)
        self._segments: list[Segment] = []
        self._number = 0
        self._target_s: float | None = None
        self._ended = False
        self._init: tuple[str, ByteRange | None] | None = None
        self._key: Mapping[str, str] | None = None
        self._follows: dict[str, int] = {}
        # Of the segment that comes next.
        self._seconds: float | None = None
        self._discontinuity = self._gap = False
        self._part = ""

    def read(self, lines: list[str]) -> MediaPlaylist:
        """All of it.

        :raises ValueError: something is malformed; KeyError: something is missing.
        """
        # What a master playlist holds is passed over; the media sequence number counts from the first segment on.
        tags: Mapping[str, Callable[[str], None]] = {
            "#EXTINF": self._on_duration,
            "#EXT-X-BYTERANGE": self._on_part,
            "#EXT-X-DISCONTINUITY": self._on_discontinuity,
            "#EXT-X-GAP": self._on_gap,
            "#EXT-X-KEY": self._on_key,
            "#EXT-X-MAP": self._on_init,
            "#EXT-X-MEDIA-SEQUENCE": self._on_first,
            "#EXT-X-TARGETDURATION": self._on_target,
            "#EXT-X-ENDLIST": self._on_end,
        }
        for line in lines:
            if line[0] != "#":
                self._on_address(line)
                continue
            name, _, value = line.partition(":")
            if (tag := tags.get(name)) is not None:
                tag(value)
        return MediaPlaylist(target_s=self._sound_target_s(), ended=self._ended, segments=tuple(self._segments))

    def _sound_target_s(self) -> float:
        """The target duration that the playlist states, if that can be one, else its longest segment's, in bounds."""
        target_s = self._target_s or 0.0
        if target_s <= 0:
            target_s = max((segment.seconds for segment in self._segments), default=2.0)
        return min(_MAX_TARGET_S, max(_MIN_TARGET_S, target_s))

    def _on_duration(self, value: str) -> None:
        self._seconds = max(0.0, _number(value.partition(",")[0]))

    def _on_part(self, value: str) -> None:
        self._part = value

    def _on_discontinuity(self, _: str) -> None:
        self._discontinuity = True

    def _on_gap(self, _: str) -> None:
        self._gap = True

    def _on_key(self, value: str) -> None:
        self._key = _attributes(value)

    def _on_init(self, value: str) -> None:
        attributes = _attributes(value)
        part = attributes.get("BYTERANGE", "")
        self._init = urljoin(self._base, attributes["URI"]), _part(part, "", {}) if part else None

    def _on_first(self, value: str) -> None:
        self._number = int(value)

    def _on_target(self, value: str) -> None:
        self._target_s = _number(value)

    def _on_end(self, _: str) -> None:
        self._ended = True

    def _on_address(self, line: str) -> None:
        if self._seconds is None:
            return
        url = self._folder + line if _is_plain(line) else urljoin(self._base, line)
        part = _part(self._part, url, self._follows) if self._part else None
        # A gap is a segment that the server says it lost.
        if not self._gap:
            self._segments.append(
                Segment(
                    number=self._number,
                    url=url,
                    part=part,
                    seconds=self._seconds,
                    discontinuity=self._discontinuity,
                    init_url=self._init[0] if self._init else None,
                    init_part=self._init[1] if self._init else None,
                    key=self._segment_key(),
                )
            )
        self._number += 1
        self._seconds, self._part = None, ""
        self._discontinuity = self._gap = False

    def _segment_key(self) -> SegmentKey | None:
        key = self._key
        if key is None or (method := key["METHOD"]) == "NONE":
            return None
        if method != "AES-128" or key.get("KEYFORMAT", "identity") != "identity":
            raise StreamError(StreamReason.UNSUPPORTED, f"segments encrypted with {method[:40]}", retryable=False)
        written = key.get("IV", "")
        iv = bytes.fromhex(written[2:].zfill(32)) if written else self._number.to_bytes(16)
        if not key["URI"] or len(iv) != 16:
            raise ValueError("key")
        return SegmentKey(url=urljoin(self._base, key["URI"]), iv=iv)


def _is_plain(line: str) -> bool:
    """Whether ``line`` lies in the playlist's folder or below, so that it can be resolved by putting it behind."""
    return _PLAIN.fullmatch(line) is not None and not any(odd in line for odd in ("./", "/.", "//"))


@lru_cache(1024)
def _folder(base: str) -> str:
    """What an address without a path of its own is put behind."""
    return urljoin(base, "x")[:-1]


def _variants(lines: list[str], base: str) -> list[Variant]:
    found: list[tuple[Mapping[str, str], str]] = []
    iframes: dict[tuple[int, int], str] = {}
    announced: Mapping[str, str] | None = None
    for line in lines:
        name, _, value = line.partition(":")
        if name == "#EXT-X-STREAM-INF":
            announced = _attributes(value)
        elif name == "#EXT-X-I-FRAME-STREAM-INF":
            attributes = _attributes(value)
            if "RESOLUTION" in attributes and "URI" in attributes:
                iframes[_size(attributes)] = urljoin(base, attributes["URI"])
        elif line[0] != "#" and announced is not None:
            found.append((announced, urljoin(base, line)))
            announced = None
    shown = [_variant(attributes, url, iframes) for attributes, url in found if not _is_sound(attributes)]
    if not shown:
        raise StreamError(StreamReason.NO_VIDEO, "no rendition of the master playlist carries video")
    return shown


def _variant(attributes: Mapping[str, str], url: str, iframes: Mapping[tuple[int, int], str]) -> Variant:
    width, height = _size(attributes)
    return Variant(
        url=url,
        width=width,
        height=height,
        bandwidth=int(attributes.get("BANDWIDTH") or 0),
        # Pictures of another size would be another timeline, and what is followed there begins anew.
        iframes_url=iframes.get((width, height)) if width else None,
    )


def _is_sound(attributes: Mapping[str, str]) -> bool:
    codecs = attributes.get("CODECS", "")
    return bool(codecs) and all(codec.strip().startswith(_SILENT_CODECS) for codec in codecs.split(","))


def _size(attributes: Mapping[str, str]) -> tuple[int, int]:
    """Width and height in pixels; zeros where the playlist does not say."""
    width, cross, height = attributes.get("RESOLUTION", "").lower().partition("x")
    return (int(width), int(height)) if cross else (0, 0)


def _attributes(text: str) -> dict[str, str]:
    """The attribute list of a tag, quotes taken off (RFC 8216, 4.2: only a quoted value holds commas).

    Each character is looked at a fixed number of times, whatever the text.

    :raises ValueError: it is longer than any that means something.
    """
    if len(text) > _MOST_ATTRIBUTES:
        raise ValueError("attributes")
    found: dict[str, str] = {}
    at = 0
    while (equals := text.find("=", at)) >= 0:
        name = text[at:equals].rpartition(",")[2].strip().upper()
        begin, behind = equals + 1, equals + 1
        if quoted := text.startswith('"', begin):
            begin += 1
            behind = text.find('"', begin)
            if behind < 0:
                break
        comma = text.find(",", behind)
        end = len(text) if comma < 0 else comma
        found[name] = text[begin:behind].strip() if quoted else text[begin:end].strip().strip('"')
        at = end + 1
    return found


def _number(text: str) -> float:
    """:raises ValueError: not a finite number."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("number")
    return number


def _part(text: str, url: str, follows: dict[str, int]) -> ByteRange:
    """``length[@start]``; without a start it follows the last part of the same resource."""
    length, _, start = text.strip().strip('"').partition("@")
    part = ByteRange(start=int(start) if start else follows.get(url, 0), length=int(length))
    if part.start < 0 or part.length <= 0:
        raise ValueError("byte range")
    follows[url] = part.start + part.length
    return part
