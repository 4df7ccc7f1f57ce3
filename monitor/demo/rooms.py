"""The demo's four rooms and its gallery: what each shows, and what the monitor must make of it."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from pathlib import Path

import yaml

from monitor.demo.carphone import carphone_path
from monitor.demo.clip import Clip, load_clip
from monitor.demo.clip_cache import cached_clip
from monitor.demo.face_swap import make_swap_clip
from monitor.demo.portraits import BIDEN, OBAMA_OFFICIAL, OBAMA_SENATE, Portrait
from monitor.demo.room_clip import make_room_clip
from monitor.demo.shop_overlay import Shop
from monitor.streams.stream import BroadcastKind, Stream

PLATFORM = "demo"
IDENTITY = "barack_obama"
PERMITTED_ACCOUNT = "obama-official"

Progress = Callable[[int, int, str], None]
"""Steps done, steps in all, what was done."""


class RoomVerdict(StrEnum):
    """What the monitor makes of a room."""

    VIOLATION = "violation"
    """An alert: a protected face without a permission."""
    PERMITTED = "permitted"
    """A protected face with a permission: recorded, no alert."""
    NOTHING = "nothing"
    """No protected face."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoRoom:
    """One room of the demo."""

    name: str
    title: str
    shop: Shop
    portrait: Portrait
    """Whose face is shown."""
    swapped: bool = False
    """The face is swapped on to somebody else's moving head."""
    expected: RoomVerdict

    @property
    def account(self) -> str:
        """The account that broadcasts."""
        return self.shop.account

    def stream(self, url: str) -> Stream:
        """The room as the daemon is to watch it."""
        return Stream(
            id=self.name,
            url=url,
            platform=PLATFORM,
            account=self.account,
            room=self.name,
            title=self.title,
            products=(self.shop.product,),
            kind=BroadcastKind.LIVE,
        )

    def make_clip(self, cache_dir: Path, networks_dir: Path) -> Clip:
        """The room's clip, out of the cache if it was made before; else it takes some seconds.

        :param networks_dir: folder for prepared networks, as ``faces.cache_dir``.
        :raises MonitorError: when the portrait, the sample clip or the detector is missing, or the cache unusable.
        """

        def make(path: Path) -> None:
            if self.swapped:
                make_swap_clip(path, self.portrait, self.shop, networks_dir=networks_dir)
            else:
                make_room_clip(path, self.portrait, self.shop)

        inputs = [self.portrait.path, *([carphone_path()] if self.swapped else [])]
        settings = repr((self.shop, self.portrait.face))
        return load_clip(cached_clip(cache_dir, self.name, inputs=inputs, settings=settings, make=make))


ROOMS = (
    DemoRoom(
        name="obama-fan-shop",
        title="Gifts he would love - tonight only",
        portrait=OBAMA_SENATE,
        expected=RoomVerdict.VIOLATION,
        shop=Shop(
            account="obama-fan-shop",
            product="Lumo travel mug",
            price="$ 19.90",
            viewers="12.4k",
            colour=(150, 110, 40),
            chat=("mia: is it him??", "joe77: take my money", "lena: ships to EU?", "kk: blue one pls", "ada: 2 pcs"),
        ),
    ),
    DemoRoom(
        name="obama-official",
        title="A conversation about reading",
        portrait=OBAMA_SENATE,
        expected=RoomVerdict.PERMITTED,
        shop=Shop(
            account=PERMITTED_ACCOUNT,
            product="Quillby reader",
            price="$ 89.00",
            viewers="204k",
            colour=(60, 120, 60),
            chat=("noor: hello from Oslo", "tim: great list", "rosa: which edition?", "ivy: thank you", "bo: signed?"),
        ),
    ),
    DemoRoom(
        name="lamp-and-desk",
        title="Desk lamps, last stock",
        portrait=BIDEN,
        expected=RoomVerdict.NOTHING,
        shop=Shop(
            account="lamp-and-desk",
            product="Halden desk lamp",
            price="$ 34.50",
            viewers="880",
            colour=(40, 90, 190),
            chat=("pat: how bright?", "sue: usb-c?", "max: love it", "eli: warm white?", "uma: ordered"),
        ),
    ),
    DemoRoom(
        name="gadget-deals-88",
        title="Gadget deals 88 percent off",
        portrait=OBAMA_SENATE,
        swapped=True,
        expected=RoomVerdict.VIOLATION,
        shop=Shop(
            account="gadget-deals-88",
            product="Zappo power bank",
            price="$ 9.88",
            viewers="31.7k",
            colour=(170, 60, 150),
            chat=("rex: real deal?", "zoe: 88 88 88", "gus: he looks odd", "fay: 20000 mAh?", "lou: bought 3"),
        ),
    ),
)


async def make_clips(
    rooms: Sequence[DemoRoom], *, cache_dir: Path, networks_dir: Path, progress: Progress | None = None
) -> Mapping[str, Clip]:
    """The clip of each room by its name, made in threads beside the event loop (OpenCV and x264 release the GIL).

    :param progress: called on the event loop with steps done, steps in all and the room that was finished.
    :raises MonitorError: when one cannot be made.
    """
    loop = asyncio.get_running_loop()
    threads = ThreadPoolExecutor(min(len(rooms), os.cpu_count() or 1), thread_name_prefix="clip")
    clips: dict[str, Clip] = {}

    async def one(room: DemoRoom) -> None:
        clips[room.name] = await loop.run_in_executor(threads, room.make_clip, cache_dir, networks_dir)
        if progress:
            progress(len(clips), len(rooms), room.name)

    try:
        # The swap takes longest, so it begins first.
        await asyncio.gather(*(one(room) for room in sorted(rooms, key=lambda room: not room.swapped)))
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
    return clips


def write_gallery(folder: Path, today: date) -> None:
    """Write the demo's gallery: one protected person, one permitted account, valid for a year around ``today``."""
    identity = folder / IDENTITY
    identity.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(OBAMA_OFFICIAL.path, identity / OBAMA_OFFICIAL.path.name)
    permission = {
        "platform": PLATFORM,
        "account": PERMITTED_ACCOUNT,
        "kinds": [kind.value for kind in BroadcastKind],
        "valid_from": today - timedelta(days=182),
        "valid_until": today + timedelta(days=183),
        "max_concurrent_rooms": 1,
    }
    described = {
        "name": {"en": "Barack Obama", "zh": "贝拉克·奥巴马"},
        "consent": {"basis": "public domain sample", "date": today, "reference": "CREDITS.md"},
        "permissions": [permission],
    }
    text = yaml.safe_dump(described, allow_unicode=True, sort_keys=False)
    (identity / "identity.yaml").write_text(text, encoding="utf-8")
