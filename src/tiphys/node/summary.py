"""What `/stats/summary` of a node tells: the shape is upstream's stats/v1alpha1 Summary. Of pods it tells what the runtime
counts, of the machine what /proc says (proc(5)): CPU in nanoseconds since the start, memory in bytes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tiphys.api import core_v1
from tiphys.machinery import timestamps
from tiphys.node.runtime import Usage

_TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def summary(
    node: str,
    started: float,
    pods: Sequence[core_v1.Pod],
    usage: Mapping[str, Mapping[str, Usage]],
    now: float,
) -> dict[str, Any]:
    """`usage` is by pod uid and container name; `started` and `now` are seconds since the epoch."""
    proc = Path("/proc")
    machine = machine_usage(
        (proc / "stat").read_text(), (proc / "meminfo").read_text(), (proc / "vmstat").read_text()
    )
    agent = agent_usage((proc / "self/stat").read_text())
    stamp, since = timestamps.rfc3339(now), timestamps.rfc3339(started)
    told = {
        "nodeName": node,
        "startTime": since,
        **_row(machine, stamp),
        "fs": _filesystem("/", stamp),
    }
    told["systemContainers"] = [{"name": "kubelet", "startTime": since, **_row(agent, stamp)}]
    return {
        "node": told,
        "pods": [_pod(pod, usage.get(pod.metadata.uid, {}), stamp) for pod in pods],
    }


def _pod(pod: core_v1.Pod, usage: Mapping[str, Usage], stamp: str) -> dict[str, Any]:
    meta = pod.metadata
    made: dict[str, Any] = {
        "podRef": {"name": meta.name, "namespace": meta.namespace, "uid": meta.uid}
    }
    if pod.status.start_time:
        made["startTime"] = pod.status.start_time
    begun = {
        status.name: status.state.running.started_at
        for status in (*pod.status.init_container_statuses, *pod.status.container_statuses)
        if status.state.running is not None
    }
    made["containers"] = [
        {"name": name, **({"startTime": begun[name]} if name in begun else {}), **_row(used, stamp)}
        for name, used in usage.items()
    ]
    if usage:
        made |= _row(
            Usage(*map(sum, zip(*(used.counts() for used in usage.values()), strict=True))), stamp
        )
    return made


def _row(used: Usage, stamp: str) -> dict[str, Any]:
    memory = {
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


def _filesystem(path: str, stamp: str) -> dict[str, Any]:
    found = os.statvfs(path)
    size, free = found.f_blocks * found.f_frsize, found.f_bfree * found.f_frsize
    return {
        "time": stamp,
        "capacityBytes": size,
        "usedBytes": size - free,
        "availableBytes": found.f_bavail * found.f_frsize,
        "inodes": found.f_files,
        "inodesFree": found.f_ffree,
        "inodesUsed": found.f_files - found.f_ffree,
    }


def machine_usage(stat: str, meminfo: str, vmstat: str) -> Usage:
    """From /proc/stat, /proc/meminfo and /proc/vmstat."""
    user, nice, system, _idle, _wait, interrupts, soft, steal = (
        int(n) for n in stat.split("\n", 1)[0].split()[1:9]
    )
    sizes = {
        name: int(rest.split()[0]) << 10
        for name, _, rest in (row.partition(":") for row in meminfo.splitlines())
        if rest
    }
    counts = {
        name: int(value) for name, _, value in (row.partition(" ") for row in vmstat.splitlines())
    }
    return Usage(
        (user + nice + system + interrupts + soft + steal) * _TICK,
        sizes["MemTotal"] - sizes["MemAvailable"],
        sizes["MemTotal"] - sizes["MemFree"],
        sizes.get("AnonPages", 0),
        counts.get("pgfault", 0),
        counts.get("pgmajfault", 0),
        sizes["MemAvailable"],
    )


def agent_usage(stat: str) -> Usage:
    """From /proc/PID/stat of a process."""
    fields = stat.rpartition(")")[2].split()
    rss = int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
    return Usage(
        (int(fields[11]) + int(fields[12])) * _TICK, rss, rss, rss, int(fields[7]), int(fields[9])
    )
