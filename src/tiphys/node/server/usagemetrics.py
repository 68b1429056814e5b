"""The usage of containers for Prometheus: `/metrics/resource` with the names of upstream's kubelet,
and `/metrics/cadvisor` with those of cAdvisor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from tiphys.api import core_v1
from tiphys.machinery import timestamps
from tiphys.node.server.summary import this_machine
from tiphys.node.states import Usage

Labels = dict[str, str]
Sample = tuple[Labels, float]
UsageByPod = Mapping[str, Mapping[str, Usage]]  # by pod uid and container name

_NANOSECONDS = 1e9


class _Row(NamedTuple):
    """One container. `started_at` is in seconds since the epoch, 0 if it does not run."""

    labels: Labels
    usage: Usage
    started_at: float


def resource_metrics(pods: Sequence[core_v1.Pod], usage: UsageByPod) -> str:
    """Of containers, pods and the machine."""
    machine = this_machine()
    rows = list(_rows(pods, usage))
    cpu: list[Sample] = [(row.labels, row.usage.cpu / _NANOSECONDS) for row in rows]
    memory: list[Sample] = [(row.labels, row.usage.working_set) for row in rows]
    starts: list[Sample] = [(row.labels, row.started_at) for row in rows if row.started_at]
    pod_cpu: list[Sample] = []
    pod_memory: list[Sample] = []
    for pod in pods:
        used = usage.get(pod.metadata.uid, {}).values()
        if used:
            pod_cpu.append(
                (_labels(pod), sum(container_usage.cpu for container_usage in used) / _NANOSECONDS)
            )
            pod_memory.append(
                (_labels(pod), sum(container_usage.working_set for container_usage in used))
            )
    families = (
        _family("container_cpu_usage_seconds_total", "counter", cpu),
        _family("container_memory_working_set_bytes", "gauge", memory),
        _family("container_start_time_seconds", "gauge", starts),
        _family("node_cpu_usage_seconds_total", "counter", [({}, machine.cpu / _NANOSECONDS)]),
        _family("node_memory_working_set_bytes", "gauge", [({}, machine.working_set)]),
        _family("pod_cpu_usage_seconds_total", "counter", pod_cpu),
        _family("pod_memory_working_set_bytes", "gauge", pod_memory),
        _family("resource_scrape_error", "gauge", [({}, 0)]),
    )
    return "".join(families)


def container_metrics(pods: Sequence[core_v1.Pod], usage: UsageByPod) -> str:
    """Of containers, with their images."""
    rows = list(_rows(pods, usage, with_images=True))
    cpu: list[Sample] = [(row.labels, row.usage.cpu / _NANOSECONDS) for row in rows]
    disk: list[Sample] = [(row.labels, row.usage.disk) for row in rows]
    rss: list[Sample] = [(row.labels, row.usage.rss) for row in rows]
    used: list[Sample] = [(row.labels, row.usage.usage or row.usage.working_set) for row in rows]
    working_set: list[Sample] = [(row.labels, row.usage.working_set) for row in rows]
    families = (
        _family("container_cpu_usage_seconds_total", "counter", cpu),
        _family("container_fs_usage_bytes", "gauge", disk),
        _family("container_memory_rss", "gauge", rss),
        _family("container_memory_usage_bytes", "gauge", used),
        _family("container_memory_working_set_bytes", "gauge", working_set),
    )
    return "".join(families)


def _rows(
    pods: Sequence[core_v1.Pod], usage: UsageByPod, with_images: bool = False
) -> Iterable[_Row]:
    for pod in pods:
        status = pod.status
        statuses = {
            reported.name: reported
            for reported in (*status.init_container_statuses, *status.container_statuses)
        }
        for name, used in usage.get(pod.metadata.uid, {}).items():
            container = statuses.get(name)
            labels = {"container": name}
            if with_images:
                labels["image"] = container.image if container is not None else ""
            yield _Row({**labels, **_labels(pod)}, used, _started_at(container))


def _started_at(status: core_v1.ContainerStatus | None) -> float:
    if status is None or status.state.running is None:
        return 0.0
    return timestamps.parse(status.state.running.started_at) or 0.0


def _labels(pod: core_v1.Pod) -> Labels:
    return {"namespace": pod.metadata.namespace, "pod": pod.metadata.name}


def _family(name: str, kind: str, samples: Sequence[Sample]) -> str:
    """One metric in the text format; nothing without samples."""
    if not samples:
        return ""
    lines = [f"# TYPE {name} {kind}"]
    for labels, value in samples:
        pairs = [f'{label}="{_escaped(text)}"' for label, text in labels.items()]
        shown = f"{{{','.join(pairs)}}}" if pairs else ""
        lines.append(f"{name}{shown} {value:.15g}")
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
