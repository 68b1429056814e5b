"""Volumes' files, logs and environment."""

from __future__ import annotations

import os
from pathlib import Path

from tests.builders import pod
from tiphys.api import core_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.machinery.spdy import SPDYClient
from tiphys.node.environment import expand, service_variables
from tiphys.node.fields import field
from tiphys.node.logs import LogOptions, end_of_log, read, shown
from tiphys.node.projection import File, write_files
from tiphys.node.states import Usage
from tiphys.node.summary import machine_usage, process_usage, summary

LOG = b"2026-01-01T00:00:00.123456789Z stdout F one\n2026-01-01T00:00:01.5Z stderr P tw\n2026-01-01T00:00:02Z stdout F o\n"


def test_files_change_all_at_once_and_old_ones_go(tmp_path: Path) -> None:
    write_files(tmp_path, {"a": File(b"1"), "dir/b": File(b"2", 0o600)})
    before = (tmp_path / "..data").resolve()
    write_files(tmp_path, {"a": File(b"1"), "dir/b": File(b"2", 0o600)})
    assert (tmp_path / "..data").resolve() == before
    write_files(tmp_path, {"a": File(b"3")})
    assert (
        (tmp_path / "a").read_bytes() == b"3"
        and not (tmp_path / "dir").exists()
        and not before.exists()
    )


async def test_logs_are_cut_as_asked(tmp_path: Path) -> None:
    async def said(**asked: int) -> bytes:
        return b"".join([c async for c in read(file, LogOptions(**asked), lambda: False)])  # type: ignore[arg-type]

    (tmp_path / "log").write_bytes(LOG)
    file = os.open(tmp_path / "log", os.O_RDONLY)
    assert await said() == b"one\ntwo\n"
    assert await said(limit=4) == b"one\n" and await said(limit=0) == b""
    assert [await said(tail=n) for n in (0, 1, 2, 3, 9)] == [
        b"",
        b"o\n",
        b"two\n",
        b"one\ntwo\n",
        b"one\ntwo\n",
    ]
    assert end_of_log(file, 1, 99) == "o\n" and end_of_log(file, 9, 5) == "\ntwo\n"
    assert shown(LOG.splitlines(True)[0], LogOptions(timestamps=True)).startswith(
        b"2026-01-01T00:00:00.123456789Z one"
    )
    assert shown(LOG.splitlines(True)[0], LogOptions(since=1767225601.0)) == b""


def test_references_to_variables() -> None:
    assert expand("$(A)-$(B)-$$(A)", {"A": "x"}) == "x-$(B)-$(A)"


def test_services_are_in_the_environment() -> None:
    service = core_v1.Service(metadata=ObjectMeta(name="my-db", namespace="default"))
    service.spec.cluster_ip, service.spec.ports = (
        "10.0.0.1",
        [core_v1.ServicePort(port=5432, protocol="TCP")],
    )
    env = service_variables([service], "default", True)
    assert (
        env["MY_DB_SERVICE_HOST"] == "10.0.0.1"
        and env["MY_DB_PORT_5432_TCP"] == "tcp://10.0.0.1:5432"
    )
    assert service_variables([service], "other", True) == {}


def test_fields_of_a_pod() -> None:
    one = pod(labels={"a": "b"})
    assert field(one, "metadata.labels['a']") == "b" and field(one, "metadata.labels") == 'a="b"'


def test_spdy_frames_come_back_whole_from_any_cut() -> None:
    stream, opening = SPDYClient().open({"streamType": "stdout"})
    wire = (
        SPDYClient.data(stream, b"hello")
        + SPDYClient.data(stream, b"", end=True)
        + SPDYClient.pong(b"\0\0\0\1")
    )
    for cut in range(len(wire)):
        client = SPDYClient()
        events = client.feed(wire[:cut]) + client.feed(wire[cut:])
        assert [(e.kind, e.data) for e in events] == [
            ("data", b"hello"),
            ("end", b""),
            ("ping", b"\0\0\0\1"),
        ]
    assert opening[:4] == b"\x80\x03\x00\x01"


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
