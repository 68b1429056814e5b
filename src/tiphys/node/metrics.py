"""What a node tells Prometheus: `/metrics/resource` with upstream's names, and the same of containers under cAdvisor's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tiphys.api import core_v1
from tiphys.machinery import timestamps
from tiphys.node.runtime import Usage
from tiphys.node.summary import machine_usage

Sample = tuple[dict[str, str], float]
_BY_UID = Mapping[str, Mapping[str, Usage]]


def of_resources(pods: Sequence[core_v1.Pod], usage: _BY_UID) -> str:
    """`usage` is by pod uid and container name."""
    proc = Path("/proc")
    machine = machine_usage(
        (proc / "stat").read_text(), (proc / "meminfo").read_text(), (proc / "vmstat").read_text()
    )
    rows = list(_containers(pods, usage))
    sums = [(_labels(pod), usage.get(pod.metadata.uid, {}).values()) for pod in pods]
    began = [(labels, begun) for labels, _, begun in rows if begun]
    return "".join(
        (
            _family(
                "container_cpu_usage_seconds_total",
                "counter",
                [(labels, u.cpu / 1e9) for labels, u, _ in rows],
            ),
            _family(
                "container_memory_working_set_bytes",
                "gauge",
                [(labels, u.working_set) for labels, u, _ in rows],
            ),
            _family("container_start_time_seconds", "gauge", began),
            _family("node_cpu_usage_seconds_total", "counter", [({}, machine.cpu / 1e9)]),
            _family("node_memory_working_set_bytes", "gauge", [({}, machine.working_set)]),
            _family(
                "pod_cpu_usage_seconds_total",
                "counter",
                [(labels, sum(u.cpu for u in us) / 1e9) for labels, us in sums if us],
            ),
            _family(
                "pod_memory_working_set_bytes",
                "gauge",
                [(labels, sum(u.working_set for u in us)) for labels, us in sums if us],
            ),
            _family("resource_scrape_error", "gauge", [({}, 0)]),
        )
    )


def of_containers(pods: Sequence[core_v1.Pod], usage: _BY_UID) -> str:
    rows = [(labels, used) for labels, used, _ in _containers(pods, usage, images=True)]
    return "".join(
        (
            _family(
                "container_cpu_usage_seconds_total",
                "counter",
                [(labels, u.cpu / 1e9) for labels, u in rows],
            ),
            _family("container_fs_usage_bytes", "gauge", [(labels, u.disk) for labels, u in rows]),
            _family("container_memory_rss", "gauge", [(labels, u.rss) for labels, u in rows]),
            _family(
                "container_memory_usage_bytes",
                "gauge",
                [(labels, u.usage or u.working_set) for labels, u in rows],
            ),
            _family(
                "container_memory_working_set_bytes",
                "gauge",
                [(labels, u.working_set) for labels, u in rows],
            ),
        )
    )


def _containers(
    pods: Sequence[core_v1.Pod], usage: _BY_UID, images: bool = False
) -> Iterable[tuple[dict[str, str], Usage, float]]:
    """(labels, usage, seconds since the epoch at which it began) of each."""
    for pod in pods:
        statuses = {
            s.name: s for s in (*pod.status.init_container_statuses, *pod.status.container_statuses)
        }
        for name, used in usage.get(pod.metadata.uid, {}).items():
            status = statuses.get(name)
            running = status.state.running if status is not None else None
            began = (timestamps.parse(running.started_at) or 0.0) if running is not None else 0.0
            image = {"image": status.image if status is not None else ""} if images else {}
            yield {"container": name, **image, **_labels(pod)}, used, began


def _labels(pod: core_v1.Pod) -> dict[str, str]:
    return {"namespace": pod.metadata.namespace, "pod": pod.metadata.name}


def _family(name: str, kind: str, samples: Sequence[Sample]) -> str:
    lines = [f"# TYPE {name} {kind}"]
    for labels, value in samples:
        shown = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
        lines.append(f"{name}{{{shown}}} {value:.15g}" if shown else f"{name} {value:.15g}")
    return "\n".join(lines) + "\n" if samples else ""


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
