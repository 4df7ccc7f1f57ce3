"""What a live-commerce room draws over its camera picture: badge, product card, scrolling chat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from monitor.demo.clip import HEIGHT, WIDTH, Picture

Colour = tuple[int, int, int]
"""Blue, green, red, 0 to 255."""

_FONT: Final = cv2.FONT_HERSHEY_SIMPLEX
_WHITE: Final[Colour] = (255, 255, 255)
_INK: Final[Colour] = (45, 38, 34)
_CHAT_X, _CHAT_WIDTH = 8, 158
_CHAT_TOP, _CHAT_HEIGHT = 196, 156
_CHAT_LINE = 24
_CHAT_OPACITY = 0.55


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """What a room sells and what its viewers write. ASCII only: the drawn font has nothing else."""

    account: str
    product: str
    price: str
    viewers: str
    colour: Colour
    """The product's and the button's colour."""
    chat: tuple[str, ...]


class ShopOverlay:
    """Draws one shop's overlay; made once per clip, then asked for every picture."""

    def __init__(self, shop: Shop) -> None:
        self._fixed = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        self._opacity = np.zeros((HEIGHT, WIDTH, 1), np.float32)
        _draw_badge(self._fixed, self._opacity, shop)
        _draw_card(self._fixed, self._opacity, shop)
        self._chat = _chat_strip(shop.chat)
        self._areas = ((slice(0, 44), slice(0, 300)), (slice(206, 354), slice(486, 634)))

    def draw(self, picture: Picture, phase: float) -> None:
        """Draw on to ``picture`` in place.

        :param phase: 0 to 1 over the clip; the chat scrolls round exactly once.
        """
        for area in self._areas:
            opacity = self._opacity[area]
            picture[area] = (picture[area] * (1 - opacity) + self._fixed[area] * opacity).astype(np.uint8)
        offset = int(phase * len(self._chat)) % len(self._chat)
        rows = np.take(self._chat, range(offset, offset + _CHAT_HEIGHT), axis=0, mode="wrap")
        chat = picture[_CHAT_TOP : _CHAT_TOP + _CHAT_HEIGHT, _CHAT_X : _CHAT_X + _CHAT_WIDTH]
        blended = cv2.addWeighted(chat, 1 - _CHAT_OPACITY, rows, _CHAT_OPACITY, 0)
        np.copyto(chat, blended.astype(np.uint8), where=rows.any(axis=2, keepdims=True))


def _text(picture: Picture, text: str, x: int, y: int, size: float, colour: Colour, weight: int = 1) -> None:
    cv2.putText(picture, text, (x, y), _FONT, size, colour, weight, cv2.LINE_AA)


def _panel(
    fixed: Picture, opacity: NDArray[np.float32], box: tuple[int, int, int, int], colour: Colour, strength: float
) -> None:
    x1, y1, x2, y2 = box
    cv2.rectangle(fixed, (x1, y1), (x2, y2), colour, -1)
    opacity[y1 : y2 + 1, x1 : x2 + 1] = strength


def _draw_badge(fixed: Picture, opacity: NDArray[np.float32], shop: Shop) -> None:
    _panel(fixed, opacity, (10, 10, 58, 32), (52, 42, 232), 1.0)
    cv2.circle(fixed, (20, 21), 4, _WHITE, -1, cv2.LINE_AA)
    _text(fixed, "LIVE", 28, 26, 0.4, _WHITE)
    account = f"@{shop.account}"
    after = 82 + cv2.getTextSize(account, _FONT, 0.42, 1)[0][0]
    _panel(fixed, opacity, (62, 10, min(299, after + 44), 32), _INK, 0.7)
    _text(fixed, account, 70, 26, 0.42, _WHITE)
    _text(fixed, shop.viewers, after, 26, 0.4, (190, 190, 190))


def _draw_card(fixed: Picture, opacity: NDArray[np.float32], shop: Shop) -> None:
    _panel(fixed, opacity, (490, 210, 630, 350), (250, 250, 250), 0.94)
    cv2.rectangle(fixed, (498, 218), (622, 276), (232, 228, 224), -1)
    cv2.ellipse(fixed, (560, 268), (34, 6), 0, 0, 360, (200, 196, 192), -1, cv2.LINE_AA)
    cv2.rectangle(fixed, (544, 232), (576, 268), shop.colour, -1)
    cv2.rectangle(fixed, (550, 224), (570, 232), _INK, -1)
    _text(fixed, shop.product, 498, 293, 0.38, _INK)
    _text(fixed, shop.price, 498, 313, 0.55, (40, 40, 210), 2)
    cv2.rectangle(fixed, (498, 322), (622, 344), shop.colour, -1)
    _text(fixed, "BUY NOW", 530, 337, 0.42, _WHITE)


def _chat_strip(lines: tuple[str, ...]) -> Picture:
    """All chat lines below one another, black where nothing is to be drawn; at least a screen high."""
    repeats = -(-_CHAT_HEIGHT // (_CHAT_LINE * len(lines))) + 1
    strip = np.zeros((_CHAT_LINE * len(lines) * repeats, _CHAT_WIDTH, 3), np.uint8)
    for index, line in enumerate(lines * repeats):
        top = index * _CHAT_LINE
        width = min(_CHAT_WIDTH - 2, 12 + cv2.getTextSize(line, _FONT, 0.36, 1)[0][0])
        cv2.rectangle(strip, (0, top + 2), (width, top + _CHAT_LINE - 3), _INK, -1)
        _text(strip, line, 6, top + 15, 0.36, _WHITE)
    return strip
