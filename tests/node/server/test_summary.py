"""The usage of the machine, its agent, and containers."""

from __future__ import annotations

import os
from pathlib import Path

from tests.builders import pod
from tiphys.node.server.summary import machine_usage, process_usage, summary
from tiphys.node.states import Usage


def test_a_machines_usage_is_what_proc_says() -> None:
    stat = "cpu  100 10 50 9000 40 3 7 5 0 0\ncpu0 1 2 3 4 5 6 7 8 9 0\n"
    memory = "MemTotal:       2000 kB\nMemFree:         100 kB\nMemAvailable:    500 kB\n"
    ticks = 100 + 10 + 50 + 3 + 7 + 5
    used = machine_usage(stat, memory, "pgfault 12\npgmajfault 3\n")
    assert used == Usage(
        ticks * 1_000_000_000 // os.sysconf("SC_CLK_TCK"),
        1500 << 10,
        1900 << 10,
        0,
        12,
        3,
        500 << 10,
    )
    assert process_usage(Path("/proc/self/stat").read_text()).rss > 1 << 20


def test_a_summary_tells_of_the_machine_the_agent_and_each_container() -> None:
    one = pod("p")
    one.metadata.uid = "u"
    one.status.start_time = "2026-01-01T00:00:00Z"
    told = summary("n", 0.0, [one], {"u": {"a": Usage(5, 6), "b": Usage(1, 2, 3, 4)}}, 60.0)
    assert told["node"]["nodeName"] == "n" and told["node"]["fs"]["capacityBytes"] > 0
    assert [c["name"] for c in told["node"]["systemContainers"]] == ["kubelet"]
    [row] = told["pods"]
    assert row["podRef"]["uid"] == "u" and row["startTime"] == "2026-01-01T00:00:00Z"
    assert [c["memory"]["usageBytes"] for c in row["containers"]] == [6, 3]
    assert row["cpu"]["usageCoreNanoSeconds"] == 6 and row["memory"]["rssBytes"] == 4
