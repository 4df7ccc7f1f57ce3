"""The dispatcher: carries the outbox's rows to the receivers, at least once, in order per incident."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from monitor.alerts.metrics import AlertsMetrics
from monitor.alerts.outbox import Outbox, OutboxEntry
from monitor.alerts.receiver import Receiver
from monitor.alerts.retry import FailureKind, RetryPlan, backoff_s, plan_retry
from monitor.clock import Clock
from monitor.errors import DeliveryError, StorageError

log = logging.getLogger(__name__)

POLL_S = 1.0
AT_ONCE = 8
"""Attempts under way for one receiver; each belongs to another incident."""
REFRESHES_AT_ONCE = AT_ONCE // 2
"""So many of them may repeat what the receiver has; the others stay free for what it has not."""


@dataclass(slots=True)
class _Lane:
    """What one receiver's task and its attempts know."""

    receiver: Receiver
    refresh_due: float
    """Monotonic seconds at which alerts in force are to be sent again."""
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    under_way: set[str] = field(default_factory=set)
    """Incidents that have an attempt under way: never two of one incident, so that their order stays."""
    to_refresh: dict[str, OutboxEntry] = field(default_factory=dict)
    """What is left of the present round of refreshing, by incident."""
    refreshes_failed: int = 0
    disabled: bool = False


class Dispatcher:
    """One task per receiver, so that a slow one holds back nobody else."""

    def __init__(self, outbox: Outbox, receivers: Sequence[Receiver], clock: Clock, metrics: AlertsMetrics) -> None:
        self._outbox = outbox
        self._clock = clock
        self._metrics = metrics
        self._lanes = tuple(
            _Lane(receiver=receiver, refresh_due=clock.monotonic() + (receiver.refresh_s or 0.0))
            for receiver in receivers
        )
        for lane in self._lanes:
            metrics.disabled.labels(receiver=lane.receiver.name).set(0)
            metrics.pending.labels(receiver=lane.receiver.name).set(0)

    def nudge(self) -> None:
        """A row was written: look at once. Call it on the event loop's thread."""
        for lane in self._lanes:
            lane.wake.set()

    async def run(self) -> None:
        """Deliver until cancelled; without receivers it returns at once."""
        async with asyncio.TaskGroup() as tasks:
            for lane in self._lanes:
                tasks.create_task(self._serve(lane), name=f"dispatch {lane.receiver.name}")

    async def _serve(self, lane: _Lane) -> None:
        name = lane.receiver.name
        async with asyncio.TaskGroup() as attempts:
            while True:
                lane.wake.clear()
                try:
                    await self._start_due(lane, attempts)
                    await self._start_refreshes(lane, attempts)
                    self._metrics.pending.labels(receiver=name).set(await self._outbox.pending(name))
                except StorageError as err:
                    log.error("alerts_waiting receiver=%s reason=database error=%s", name, err)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(POLL_S):
                        await lane.wake.wait()

    async def _start_due(self, lane: _Lane, attempts: asyncio.TaskGroup) -> None:
        # As it was before the read: an attempt that ends meanwhile may stand in what was read as not yet made.
        under_way = frozenset(lane.under_way)
        if lane.disabled or len(under_way) >= AT_ONCE:
            return
        for entry in await self._outbox.due(lane.receiver.name, self._clock.utc(), AT_ONCE + len(under_way)):
            if len(lane.under_way) < AT_ONCE and entry.alert.incident_id not in under_way:
                # Newer than what was to be repeated: after it, that would be wrong.
                lane.to_refresh.pop(entry.alert.incident_id, None)
                self._start(lane, attempts, entry, self._deliver)

    async def _start_refreshes(self, lane: _Lane, attempts: asyncio.TaskGroup) -> None:
        every_s = lane.receiver.refresh_s
        if every_s is None or lane.disabled:
            return
        if self._clock.monotonic() >= lane.refresh_due and not lane.to_refresh:
            entries = await self._outbox.in_force(lane.receiver.name)
            lane.to_refresh = {entry.alert.incident_id: entry for entry in entries}
            lane.refresh_due = self._clock.monotonic() + every_s
        for incident_id, entry in list(lane.to_refresh.items()):
            if len(lane.under_way) < REFRESHES_AT_ONCE and incident_id not in lane.under_way:
                del lane.to_refresh[incident_id]
                self._start(lane, attempts, entry, self._refresh)

    def _start(
        self,
        lane: _Lane,
        attempts: asyncio.TaskGroup,
        entry: OutboxEntry,
        carry: Callable[[_Lane, OutboxEntry], Awaitable[None]],
    ) -> None:
        async def attempt() -> None:
            try:
                await carry(lane, entry)
                lane.wake.set()
            except StorageError as err:
                # Nobody is woken: the row is due at once, and a database that fails is not to be asked without pause.
                log.error("alerts_waiting receiver=%s reason=database error=%s", lane.receiver.name, err)
            finally:
                lane.under_way.discard(entry.alert.incident_id)

        lane.under_way.add(entry.alert.incident_id)
        attempts.create_task(attempt())

    async def _deliver(self, lane: _Lane, entry: OutboxEntry) -> None:
        name = lane.receiver.name
        error = await self._attempt(lane, entry)
        now = self._clock.utc()
        if error is None:
            await self._outbox.delivered(entry.id, now)
            self._metrics.delivered.labels(receiver=name).inc()
            seconds = (now - entry.created_at).total_seconds()
            self._metrics.delivery_seconds.labels(receiver=name).observe(max(0.0, seconds))
            log.info(
                "alert_delivered receiver=%s webhook_id=%s incident=%s transition=%s attempts=%d seconds=%.3f",
                name,
                entry.id,
                entry.alert.incident_id,
                entry.alert.transition,
                entry.attempts + 1,
                seconds,
            )
            return
        plan = plan_retry(error, failures=entry.attempts + 1, now=now, jitter=random.random())
        await self._give_way(lane, entry, error, plan)

    async def _give_way(self, lane: _Lane, entry: OutboxEntry, error: DeliveryError, plan: RetryPlan) -> None:
        name = lane.receiver.name
        self._metrics.failures.labels(receiver=name, kind=plan.kind).inc()
        log.warning(
            "alert_not_delivered receiver=%s webhook_id=%s incident=%s transition=%s kind=%s attempts=%d error=%r",
            name,
            entry.id,
            entry.alert.incident_id,
            entry.alert.transition,
            plan.kind,
            entry.attempts + 1,
            str(error),
        )
        if plan.kind is FailureKind.REFUSED:
            await self._outbox.dead(entry.id, self._clock.utc(), str(error))
            return
        if plan.kind is FailureKind.GONE:
            self._disable(lane)
        await self._outbox.failed(entry.id, next_attempt_at=plan.next_attempt_at, error=str(error))

    def _disable(self, lane: _Lane) -> None:
        if not lane.disabled:
            lane.disabled = True
            self._metrics.disabled.labels(receiver=lane.receiver.name).set(1)
            log.error(
                "receiver_disabled receiver=%s reason=gone remedy='its alerts are kept; set its address right and "
                "restart'",
                lane.receiver.name,
            )

    async def _refresh(self, lane: _Lane, entry: OutboxEntry) -> None:
        error = await self._attempt(lane, entry)
        if error is None:
            lane.refreshes_failed = 0
            return
        log.warning("alert_not_refreshed receiver=%s webhook_id=%s error=%r", lane.receiver.name, entry.id, str(error))
        if error.retryable and lane.receiver.refresh_s is not None:
            # It is not the message: the rest of the round would fail as well.
            lane.to_refresh.clear()
            lane.refreshes_failed += 1
            wait_s = min(lane.receiver.refresh_s, backoff_s(lane.refreshes_failed, random.random()))
            lane.refresh_due = self._clock.monotonic() + wait_s

    async def _attempt(self, lane: _Lane, entry: OutboxEntry) -> DeliveryError | None:
        try:
            await lane.receiver.send(entry.alert, entry.id, self._clock.utc())
        except DeliveryError as err:
            return err
        except Exception as err:
            # A receiver's own fault must not end the deliveries to all the others.
            log.exception("receiver_fault receiver=%s webhook_id=%s", lane.receiver.name, entry.id)
            return DeliveryError(f"fault in the receiver ({type(err).__name__})")
        return None
