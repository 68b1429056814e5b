"""The body of `/stats/summary`: upstream's stats/v1alpha1 Summary. The usage of pods comes from the
runtime, that of the machine from proc(5)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tiphys.api import core_v1
from tiphys.machinery import timestamps
from tiphys.node.states import Usage, VolumeUsage

_TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK")  # nanoseconds of one count of CPU time
_PROC = Path("/proc")


def summary(
    node: str,
    started_at: float,
    pods: Sequence[core_v1.Pod],
    usage: Mapping[str, Mapping[str, Usage]],
    now: float,
    volumes: Mapping[str, list[VolumeUsage]] | None = None,
) -> dict[str, Any]:
    """`usage` is by pod uid and container name, `volumes` by pod uid; times are seconds since the
    epoch."""
    agent = process_usage((_PROC / "self/stat").read_text())
    stamp = timestamps.rfc3339(now)
    start_time = timestamps.rfc3339(started_at)
    kubelet = {"name": "kubelet", "startTime": start_time, **_row(agent, stamp)}
    return {
        "node": {
            "nodeName": node,
            "startTime": start_time,
            **_row(this_machine(), stamp),
            "fs": _file_system("/", stamp),
            "systemContainers": [kubelet],
        },
        "pods": [
            _pod(pod, usage.get(pod.metadata.uid, {}), stamp)
            | _volumes((volumes or {}).get(pod.metadata.uid, []))
            for pod in pods
        ],
    }


def _pod(pod: core_v1.Pod, usage: Mapping[str, Usage], stamp: str) -> dict[str, Any]:
    meta = pod.metadata
    status = pod.status
    row: dict[str, Any] = {
        "podRef": {"name": meta.name, "namespace": meta.namespace, "uid": meta.uid}
    }
    if status.start_time:
        row["startTime"] = status.start_time
    started = {}
    for container in (*status.init_container_statuses, *status.container_statuses):
        if container.state.running is not None:
            started[container.name] = {"startTime": container.state.running.started_at}
    row["containers"] = [
        {"name": name, **started.get(name, {}), **_row(used, stamp)} for name, used in usage.items()
    ]
    if usage:
        row |= _row(_sum(usage.values()), stamp)
    return row


def _volumes(volumes: list[VolumeUsage]) -> dict[str, Any]:
    return {"volume": [_volume(usage) for usage in volumes]} if volumes else {}


def _volume(usage: VolumeUsage) -> dict[str, Any]:
    row: dict[str, Any] = {"time": timestamps.rfc3339(usage.measured_at), "name": usage.name}
    if usage.claim is not None:
        row["pvcRef"] = {"namespace": usage.claim[0], "name": usage.claim[1]}
    if usage.bytes is not None:
        row |= zip(("capacityBytes", "usedBytes", "availableBytes"), usage.bytes, strict=True)
    if usage.inodes is not None:
        row |= zip(("inodes", "inodesUsed", "inodesFree"), usage.inodes, strict=True)
    return row


def _sum(usages: Iterable[Usage]) -> Usage:
    columns = zip(*(used.counts() for used in usages), strict=True)
    return Usage(*(sum(column) for column in columns))


def _row(used: Usage, stamp: str) -> dict[str, Any]:
    memory: dict[str, Any] = {
        "time": stamp,
        "usageBytes": used.usage or used.working_set,
        "workingSetBytes": used.working_set,
        "rssBytes": used.rss,
        "pageFaults": used.faults,
        "majorPageFaults": used.major,
    }
    if used.available:
        memory["availableBytes"] = used.available
    return {"cpu": {"time": stamp, "usageCoreNanoSeconds": used.cpu}, "memory": memory}


def _file_system(path: str, stamp: str) -> dict[str, Any]:
    facts = os.statvfs(path)
    size = facts.f_blocks * facts.f_frsize
    return {
        "time": stamp,
        "capacityBytes": size,
        "usedBytes": size - facts.f_bfree * facts.f_frsize,
        "availableBytes": facts.f_bavail * facts.f_frsize,
        "inodes": facts.f_files,
        "inodesFree": facts.f_ffree,
        "inodesUsed": facts.f_files - facts.f_ffree,
    }


def this_machine() -> Usage:
    return machine_usage(
        (_PROC / "stat").read_text(),
        (_PROC / "meminfo").read_text(),
        (_PROC / "vmstat").read_text(),
    )


def machine_usage(stat: str, meminfo: str, vmstat: str) -> Usage:
    """From the texts of /proc/stat, /proc/meminfo and /proc/vmstat."""
    first_line = stat.split("\n", 1)[0]
    user, nice, system, _idle, _wait, interrupts, soft, steal = (
        int(ticks) for ticks in first_line.split()[1:9]
    )
    sizes = {}
    for line in meminfo.splitlines():
        name, _, kilobytes = line.partition(":")
        if kilobytes:
            sizes[name] = int(kilobytes.split()[0]) << 10
    counts = {}
    for line in vmstat.splitlines():
        name, _, count = line.partition(" ")
        counts[name] = int(count)
    return Usage(
        cpu=(user + nice + system + interrupts + soft + steal) * _TICK,
        working_set=sizes["MemTotal"] - sizes["MemAvailable"],
        usage=sizes["MemTotal"] - sizes["MemFree"],
        rss=sizes.get("AnonPages", 0),
        faults=counts.get("pgfault", 0),
        major=counts.get("pgmajfault", 0),
        available=sizes["MemAvailable"],
    )


def process_usage(stat: str) -> Usage:
    """From the text of /proc/PID/stat: fields are counted after the name, which may have blanks."""
    fields = stat.rpartition(")")[2].split()
    minor_faults = int(fields[7])
    major_faults = int(fields[9])
    user = int(fields[11])
    system = int(fields[12])
    rss = int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
    return Usage(
        cpu=(user + system) * _TICK,
        working_set=rss,
        usage=rss,
        rss=rss,
        faults=minor_faults,
        major=major_faults,
    )
