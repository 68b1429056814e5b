"""The report of disruptions: what is kept, when it is written, and its page."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from tests.addons.karpenter.builders import NOW
from tiphys.addons.karpenter.reporting import Reports, page
from tiphys.addons.karpenter.types import DisruptionReport, DisruptionReportStatus, Held, Replaced
from tiphys.client.client import MERGE
from tiphys.machinery import errors, timestamps

NOT_THERE = errors.not_found("disruptionreports", "p")


class Server:
    """`fails` are what the next patches end with, None for well."""

    def __init__(self) -> None:
        self.written: list[tuple[str, Any]] = []
        self.created: list[str] = []
        self.fails: list[Exception | None] = []
        self.there: list[DisruptionReport] = []

    async def patch(
        self, kind: Any, name: str, patch: Any, namespace: str, part: str, *, media: str
    ) -> None:
        assert (namespace, part, media) == ("", "status", MERGE)
        error = self.fails.pop(0) if self.fails else None
        if error is not None:
            raise error
        self.written.append((name, patch["status"]))

    async def create(self, obj: DisruptionReport) -> None:
        assert obj.spec.node_pool == obj.metadata.name
        self.created.append(obj.metadata.name)

    async def list(self, kind: Any) -> Any:
        return SimpleNamespace(items=self.there)


class Bench:
    def __init__(self) -> None:
        self.server: Any = Server()
        self.time = NOW
        self.reports = Reports(self.server, lambda: self.time)

    def begin(self, claim: str = "c", progress: int = 1, when: float = NOW) -> None:
        entry = Replaced(node=f"node-{claim}", node_claim=claim, in_progress=progress)
        self.reports.begun("p", entry, when)

    async def writes(self) -> bool:
        """Whether there is something new."""
        before = len(self.server.written)
        await self.reports.write()
        return len(self.server.written) > before


def stamp(later: float = 0) -> str:
    return timestamps.rfc3339(NOW + later)


async def test_a_pool_has_a_report_from_when_it_is_known() -> None:
    bench = Bench()
    assert not await bench.writes()
    for new in (True, False):
        bench.reports.know("p")
        assert await bench.writes() is new


async def test_a_disruption_is_written_step_by_step_once() -> None:
    bench = Bench()
    bench.begin(when=NOW - 5)
    assert await bench.writes()
    for later, step in ((10, bench.reports.drained), (20, bench.reports.ended)):
        for again in (0, 100):
            bench.time = NOW + later + again
            step("p", "c")
            assert await bench.writes() is not again
        step("p", "nobody")
        assert not await bench.writes()
    report = bench.reports.of("p")
    (entry,) = report.replaced
    assert (entry.began_at, entry.drained_at, entry.ended_at) == (stamp(-5), stamp(10), stamp(20))
    assert (report.nodes, report.began_at) == (1, stamp(-5))


async def test_the_same_node_is_not_counted_twice_and_may_stay_after_all() -> None:
    bench = Bench()
    bench.begin("a", 1)
    bench.begin("a", 9, NOW + 9)
    bench.begin("b", 3, NOW + 1)
    bench.begin("c", 2, NOW + 2)
    report = bench.reports.of("p")
    assert (report.nodes, report.most_at_once, report.began_at) == (3, 3, stamp())
    await bench.reports.write()
    bench.reports.given_up("p", "b")
    assert await bench.writes()
    assert [one.node_claim for one in report.replaced] == ["a", "c"] and report.nodes == 2
    bench.reports.given_up("p", "nobody")
    assert not await bench.writes() and report.nodes == 2


async def test_what_held_is_counted_by_what_and_why() -> None:
    bench = Bench()
    bench.reports.held("p", "Empty", "budget")
    bench.time = NOW + 5
    bench.reports.held("p", "Empty", "budget")
    bench.reports.held("p", "Drifted", "budget")
    bench.reports.held("p", "Empty", "pod")
    rows = [(one.by, one.reason, one.times) for one in bench.reports.of("p").held]
    assert rows == [("budget", "Empty", 2), ("budget", "Drifted", 1), ("pod", "Empty", 1)]
    first = bench.reports.of("p").held[0]
    assert (first.first_at, first.last_at) == (stamp(), stamp(5))
    assert await bench.writes()


def test_the_newest_two_hundred_are_kept() -> None:
    bench = Bench()
    for number in range(201):
        bench.begin(str(number))
        bench.reports.held("p", "Empty", str(number))
    report = bench.reports.of("p")
    assert (len(report.replaced), len(report.held), report.nodes) == (200, 200, 201)
    assert (report.replaced[0].node_claim, report.held[0].by) == ("1", "1")


async def test_a_report_that_is_not_there_is_made_and_one_that_failed_is_written_again() -> None:
    bench = Bench()
    bench.begin()
    bench.server.fails = [NOT_THERE]
    assert await bench.writes()
    assert bench.server.created == ["p"]
    bench.begin("d")
    bench.server.fails = [errors.conflict("disruptionreports", "p", "changed")]
    assert not await bench.writes()
    assert await bench.writes() and bench.server.created == ["p"]


async def test_reports_go_on_from_what_was_written() -> None:
    bench = Bench()
    there = DisruptionReport(status=DisruptionReportStatus(nodes=7))
    there.spec.node_pool = "p"
    bench.server.there = [there]
    await bench.reports.load()
    bench.begin()
    assert bench.reports.of("p").nodes == 8
    bench.reports.know("p")


def test_a_page_has_a_row_for_each_node_and_what_held() -> None:
    report = DisruptionReport()
    report.spec.node_pool = "p"
    assert page(report) == (
        "# Disruptions of pool p\n\n"
        "0 nodes, at most 0 at the same time.\n\n"
        "| node | reason | image | replaced by | pods | began | drained | gone | at once | allowed |\n"
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n"
    )
    row = Replaced(node="n", reason="Empty", image="i", replacements=["a", "b"], pods=2)
    row.began_at, row.in_progress, row.allowed = stamp(), 1, -1
    second = Replaced(node="m", drained_at=stamp(1), ended_at=stamp(2), allowed=0)
    report.status = DisruptionReportStatus(nodes=2, most_at_once=1, began_at=stamp())
    report.status.replaced = [row, second]
    held = Held(by="budget", reason="Empty", times=3, first_at=stamp(), last_at=stamp(9))
    report.status.held = [held]
    lines = page(report).splitlines()
    assert lines[2] == f"2 nodes since {stamp()}, at most 1 at the same time."
    assert lines[6] == f"| n | Empty | i | a, b | 2 | {stamp()} |  |  | 1 | no budget |"
    assert lines[7] == f"| m |  |  |  | 0 |  | {stamp(1)} | {stamp(2)} | 0 | 0 |"
    assert lines[8:] == [
        "",
        "Held by:",
        "",
        f"- budget (Empty): at 3 looks, from {stamp()} to {stamp(9)}",
    ]
