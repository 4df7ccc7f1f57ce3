"""The roster: what is watched, kept and taken over; and the desk that follows streaming servers' events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from support.site import NOW, Drawer, Watching, any_address, make_roster
from support.waiting import wait_for
from support.watching import make_stream

from monitor.clock import ManualClock
from monitor.errors import AddressRefused, StorageError, StreamError, StreamReason, StreamRefusal, StreamRefused
from monitor.streams.hook_config import HookConfig
from monitor.streams.hooks import PublishAction, PublishEvent, stream_id
from monitor.streams.publishing import PublishDesk
from monitor.streams.roster import MOST_STREAMS, Origin, Roster, RosterEntry
from monitor.streams.stream import StreamState

FILED = make_stream("https://example.com/filed.m3u8", "filed")
ADDED = make_stream("https://example.com/added.m3u8", "added")
HOOK = HookConfig.model_validate(
    {
        "type": "nginx-rtmp",
        "name": "origin",
        "secret": "a-shared-secret-of-the-hook",
        "url": "rtmp://10.0.0.5/{app}/{name}",
        "platform": "own",
        "account": "{name}",
        "room": "{name}",
        "forget_after_s": 60,
    }
)


def event(name: str = "shop", publisher: str = "1", *, ended: bool = False) -> PublishEvent:
    action = PublishAction.UNPUBLISHED if ended else PublishAction.PUBLISHED
    return PublishEvent(action=action, fields={"app": "live", "name": name}, publisher=publisher)


SHOP = stream_id(HOOK, event())


async def test_what_was_added_is_watched_again_after_a_restart() -> None:
    store = Drawer()
    await make_roster(FILED, store=store).add(ADDED)
    watching = Watching()
    await make_roster(FILED, store=store, watching=watching).restore()
    assert watching.streams == {"filed": FILED, "added": ADDED}


async def test_the_file_wins_over_what_was_added_under_the_same_id_which_rests(
    caplog: pytest.LogCaptureFixture,
) -> None:
    same = make_stream("https://example.com/other.m3u8", "filed")
    store = Drawer({"filed": RosterEntry(stream=same, origin=Origin.API)})
    watching = Watching()
    await make_roster(FILED, store=store, watching=watching).restore()
    assert watching.streams == {"filed": FILED}
    assert "stream_rests stream=filed" in caplog.text
    later = Watching()
    await make_roster(store=store, watching=later).restore()
    assert later.streams == {"filed": same}, "it is there again when the file no longer has it"


async def test_a_file_that_is_read_again_changes_only_what_differs_and_gives_back_what_rested() -> None:
    store, watching = Drawer(), Watching()
    roster = make_roster(FILED, store=store, watching=watching)
    await roster.restore()
    await roster.add(ADDED)
    other = make_stream("https://example.com/other.m3u8", "added")
    changes = await roster.provision([other])
    assert (changes.added, changes.changed, changes.removed) == (("added",), (), ("filed",))
    assert watching.streams == {"added": other}
    assert [entry.origin for entry in roster.entries()] == [Origin.FILE]
    changes = await roster.provision([FILED])
    assert (changes.added, changes.removed) == (("filed",), ("added",))
    assert watching.streams == {"added": ADDED, "filed": FILED}, "what came over the API is watched again"
    assert [entry.origin for entry in roster.entries()] == [Origin.FILE, Origin.API]
    assert (await roster.provision([FILED])).unchanged == ("filed",)
    assert set(store.entries) == {"added"}


async def test_a_name_without_an_address_now_may_be_added_but_one_with_a_private_one_not() -> None:
    async def check(url: str) -> None:
        if "unknown" in url:
            raise StreamError(StreamReason.UNRESOLVED, "no address")
        raise AddressRefused("x is 10.0.0.1")

    watching = Watching()
    roster = Roster([], Drawer(), watching, check)
    assert await roster.add(make_stream("https://unknown.example/x.m3u8", "a"))
    with pytest.raises(StreamRefused) as refused:
        await roster.add(make_stream("https://inside.example/x.m3u8", "b"))
    assert refused.value.reason is StreamRefusal.ADDRESS
    assert set(watching.streams) == {"a"}


async def test_the_list_has_an_end() -> None:
    watching = Watching()
    roster = make_roster(watching=watching)
    everything = [make_stream("https://example.com/x.m3u8", f"s{number}") for number in range(MOST_STREAMS)]
    await roster.set_all(everything)
    with pytest.raises(StreamRefused) as refused:
        await roster.add(ADDED)
    assert refused.value.reason is StreamRefusal.TOO_MANY
    await roster.set_all([*everything[1:], ADDED])
    assert len(watching.streams) == len(roster) == MOST_STREAMS


async def test_a_slow_look_up_of_one_address_holds_nobody_else_up() -> None:
    asked = asyncio.Event()

    async def check(url: str) -> None:
        if "slow" in url:
            asked.set()
            await asyncio.Event().wait()

    roster = Roster([], Drawer(), Watching(), check)
    await roster.add(ADDED)
    slow = asyncio.create_task(roster.change("added", lambda _: make_stream("https://slow.example/x", "added")))
    await asked.wait()
    assert await asyncio.wait_for(roster.add(make_stream("https://example.com/y", "quick")), 30)
    slow.cancel()


class Counted(dict[str, StreamState]):
    """States that know how often they were asked for."""

    looks = 0

    def __call__(self) -> dict[str, StreamState]:
        self.looks += 1
        return self

    async def looked_at_twice(self) -> None:
        """The second look begins after the first, and so after what was changed before this call."""
        before = self.looks
        await wait_for(lambda: self.looks >= before + 2, timeout_s=30, what="the desk looks at its rooms")


@asynccontextmanager
async def desk(
    states: Counted | None = None, store: Drawer | None = None, clock: ManualClock | None = None
) -> AsyncIterator[tuple[PublishDesk, Roster, Watching]]:
    """A desk that works."""
    watching = Watching()
    roster = Roster([FILED], store or Drawer(), watching, any_address)
    await roster.restore()
    made = PublishDesk([HOOK], roster, states or Counted(), clock or ManualClock(now=NOW))
    working = asyncio.create_task(made.run())
    try:
        yield made, roster, watching
    finally:
        working.cancel()
        with suppress(asyncio.CancelledError):
            await working


async def test_a_published_room_is_kept_and_watched_until_its_publisher_ends() -> None:
    store = Drawer()
    async with desk(store=store) as (made, roster, watching):
        made.take(HOOK, event())
        await wait_for(lambda: SHOP in watching.streams, timeout_s=30, what="the room is watched")
        assert store.entries[SHOP].publisher == "1"
        made.take(HOOK, event(ended=True))
        await wait_for(lambda: SHOP not in watching.streams, timeout_s=30, what="the room is gone")
        assert SHOP not in store.entries
        assert roster.get(SHOP) is None


async def test_a_late_end_of_an_earlier_publisher_does_not_end_the_room_that_came_back() -> None:
    async with desk() as (made, _, watching):
        for one in (event(publisher="1"), event(publisher="2"), event(publisher="1", ended=True), event("last", "3")):
            made.take(HOOK, one)
        last = stream_id(HOOK, event("last"))
        await wait_for(lambda: last in watching.streams, timeout_s=30, what="all events are worked off")
        assert SHOP in watching.streams
        assert watching.begun.count(SHOP) == 2, "the new publisher is connected to at once"


@pytest.mark.parametrize(("publisher", "state", "begun"), [("1", None, 1), ("", StreamState.LIVE, 1), ("", None, 2)])
async def test_the_same_news_told_twice_interrupts_nothing_that_works(
    publisher: str, state: StreamState | None, begun: int
) -> None:
    async with desk(Counted({SHOP: state} if state else {})) as (made, _, watching):
        for one in (event(publisher=publisher), event(publisher=publisher), event("last", "3")):
            made.take(HOOK, one)
        last = stream_id(HOOK, event("last"))
        await wait_for(lambda: last in watching.streams, timeout_s=30, what="all events are worked off")
        assert watching.begun.count(SHOP) == begun


async def test_a_database_that_fails_for_a_moment_costs_no_event(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("monitor.streams.publishing._PAUSE_S", 0.05)
    store = Drawer()
    async with desk(store=store) as (made, _, watching):
        store.failure = StorageError("locked")
        made.take(HOOK, event())
        await wait_for(lambda: "hook_event_not_written" in caplog.text, timeout_s=30, what="the write fails")
        store.failure = None
        await wait_for(lambda: SHOP in watching.streams, timeout_s=30, what="the event is worked off after all")


@pytest.mark.parametrize("state", [StreamState.ENDED, StreamState.BACKING_OFF, None])
async def test_a_room_whose_end_was_never_told_is_forgotten_when_it_stays_dark(
    monkeypatch: pytest.MonkeyPatch, state: StreamState | None
) -> None:
    monkeypatch.setattr("monitor.streams.publishing._SWEEP_S", 0.02)
    states = Counted({SHOP: StreamState.LIVE, "filed": StreamState.ENDED})
    clock = ManualClock(now=NOW)
    async with desk(states, clock=clock) as (made, _, watching):
        made.take(HOOK, event())
        await wait_for(lambda: SHOP in watching.streams, timeout_s=30, what="the room is watched")
        for _ in range(3):
            clock.elapsed_s += 50
            await states.looked_at_twice()
        assert SHOP in watching.streams, "it was on the air all the time"
        if state is None:
            del states[SHOP]
        else:
            states[SHOP] = state
        clock.elapsed_s += 50
        await states.looked_at_twice()
        assert SHOP in watching.streams, "not dark for long enough"
        clock.elapsed_s += 50
        await wait_for(lambda: SHOP not in watching.streams, timeout_s=30, what="the dark room is forgotten")
        assert "filed" in watching.streams, "only hooks' rooms are forgotten"


async def test_rooms_of_a_hook_that_was_taken_out_of_the_settings_are_forgotten_when_they_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("monitor.streams.publishing._SWEEP_S", 0.02)
    kept = RosterEntry(stream=make_stream("rtmp://h/x", "old-x"), origin=Origin.HOOK, hook="old")
    clock = ManualClock(now=NOW)
    async with desk(store=Drawer({"old-x": kept}), clock=clock) as (_, _, watching):
        assert "old-x" in watching.streams

        def gone() -> bool:
            clock.elapsed_s += 1
            return "old-x" not in watching.streams

        await wait_for(gone, timeout_s=30, what="the room is forgotten")
