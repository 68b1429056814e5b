"""The report of disruptions: who was replaced when and why, and what held it. One object for each
pool, and a page."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

from tiphys.addons.karpenter.types import DisruptionReport, DisruptionReportStatus, Held, Replaced
from tiphys.api.base import to_builtins
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.client.client import MERGE, Client
from tiphys.machinery import timestamps
from tiphys.machinery.errors import StatusError, is_not_found

log = logging.getLogger(__name__)

_COLUMNS = (
    "node",
    "reason",
    "image",
    "replaced by",
    "pods",
    "began",
    "drained",
    "gone",
    "at once",
    "allowed",
)
_KEPT = 200  # nodes and reasons of a report, the newest


class Reports:
    """Kept in memory and written when they change (`write`); after a restart they go on from what
    was written."""

    def __init__(self, client: Client, now: Callable[[], float]) -> None:
        self._client = client
        self._now = now
        self._pools: dict[str, DisruptionReportStatus] = {}
        self._changed: set[str] = set()

    async def load(self) -> None:
        for report in (await self._client.list(DisruptionReport)).items:
            self._pools[report.spec.node_pool] = report.status

    def of(self, pool: str) -> DisruptionReportStatus:
        return self._pools.setdefault(pool, DisruptionReportStatus())

    def know(self, pool: str) -> None:
        """There is such a pool: it has a report, if only an empty one."""
        if pool not in self._pools:
            self.of(pool)
            self._changed.add(pool)

    def begun(self, pool: str, entry: Replaced, when: float) -> None:
        """A node is going to be disrupted. `when` it was decided: what budgets allow is of that
        moment."""
        report = self.of(pool)
        if any(one.node_claim == entry.node_claim for one in report.replaced):
            return
        entry.began_at = timestamps.rfc3339(when)
        report.began_at = report.began_at or entry.began_at
        report.replaced = [*report.replaced, entry][-_KEPT:]
        report.nodes += 1
        report.most_at_once = max(report.most_at_once, entry.in_progress)
        self._changed.add(pool)

    def drained(self, pool: str, claim: str) -> None:
        entry = self._find(pool, claim)
        if entry is not None and entry.drained_at is None:
            entry.drained_at = timestamps.rfc3339(self._now())
            self._changed.add(pool)

    def ended(self, pool: str, claim: str) -> None:
        entry = self._find(pool, claim)
        if entry is not None and entry.ended_at is None:
            entry.ended_at = timestamps.rfc3339(self._now())
            self._changed.add(pool)

    def given_up(self, pool: str, claim: str) -> None:
        """The node stays after all."""
        entry = self._find(pool, claim)
        if entry is not None:
            report = self.of(pool)
            report.replaced.remove(entry)
            report.nodes -= 1
            self._changed.add(pool)

    def held(self, pool: str, reason: str, by: str) -> None:
        """Something kept nodes of a pool from being disrupted, at one look."""
        report = self.of(pool)
        stamp = timestamps.rfc3339(self._now())
        for entry in report.held:
            if (entry.by, entry.reason) == (by, reason):
                entry.times += 1
                entry.last_at = stamp
                break
        else:
            new_entry = Held(by=by, reason=reason, times=1, first_at=stamp, last_at=stamp)
            report.held = [*report.held, new_entry][-_KEPT:]
        self._changed.add(pool)

    def _find(self, pool: str, claim: str) -> Replaced | None:
        for replaced in self.of(pool).replaced:
            if replaced.node_claim == claim:
                return replaced
        return None

    async def write(self) -> None:
        """Writes what has changed. A failure is logged, and the next time it is written again."""
        for pool in list(self._changed):
            self._changed.discard(pool)
            try:
                await self._write(pool, self._pools[pool])
            except StatusError as error:
                self._changed.add(pool)
                log.info("the disruption report of pool %s could not be written: %s", pool, error)

    async def _write(self, pool: str, status: DisruptionReportStatus) -> None:
        patch = {"status": to_builtins(status)}
        try:
            await self._client.patch(DisruptionReport, pool, patch, "", "status", media=MERGE)
        except StatusError as error:
            if not is_not_found(error):
                raise
            new_report = DisruptionReport(metadata=ObjectMeta(name=pool))
            new_report.spec.node_pool = pool
            await self._client.create(new_report)
            await self._client.patch(DisruptionReport, pool, patch, "", "status", media=MERGE)


def page(report: DisruptionReport) -> str:
    """A report as Markdown."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: DisruptionReport) -> Iterator[str]:
    status = report.status
    yield f"# Disruptions of pool {report.spec.node_pool}"
    yield ""
    since = f" since {status.began_at}" if status.began_at else ""
    yield f"{status.nodes} nodes{since}, at most {status.most_at_once} at the same time."
    yield ""
    yield f"| {' | '.join(_COLUMNS)} |"
    yield f"| {' | '.join('---' for _ in _COLUMNS)} |"
    for replaced in status.replaced:
        allowed = "no budget" if replaced.allowed < 0 else str(replaced.allowed)
        cells = (
            replaced.node,
            replaced.reason,
            replaced.image,
            ", ".join(replaced.replacements),
            str(replaced.pods),
            replaced.began_at or "",
            replaced.drained_at or "",
            replaced.ended_at or "",
            str(replaced.in_progress),
            allowed,
        )
        yield f"| {' | '.join(cells)} |"
    if status.held:
        yield ""
        yield "Held by:"
        yield ""
    for held in status.held:
        yield (
            f"- {held.by} ({held.reason}): at {held.times} looks, from {held.first_at} "
            f"to {held.last_at}"
        )
