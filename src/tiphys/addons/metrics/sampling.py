"""Rates from counters: what nodes say they have used, one look after the other. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, NamedTuple

from tiphys.api import core_v1
from tiphys.api.base import Quantity, format_quantity
from tiphys.machinery.quantity import NANO, nano

_DECLARED = 0.0  # what hollow pods use is declared by them, not measured over a time
_NOTHING = Quantity("0")


@dataclass(slots=True)
class Sample:
    """cpu: nano cores; memory: bytes; since: seconds since the epoch; window: seconds that the rate
    is of."""

    cpu: int
    memory: int
    since: float
    window: float

    def usage(self) -> dict[str, Any]:
        """As the API shows it: in the form of quantities, memory in whole KiB."""
        memory = self.memory // 1024 * 1024 * NANO
        return {"cpu": format_quantity(self.cpu), "memory": format_quantity(memory, "binary")}


class _Counter(NamedTuple):
    total: int  # nanoseconds of processor time
    since: float  # when it was read


_Key = tuple[str, str, str]  # node, pod's uid, container; the last two "" for a node as a whole


class Sampler:
    """The samples of every node. `is_new`: whether the last round saw something for the first
    time, of which there is a rate only after another one."""

    def __init__(self) -> None:
        self._counters: dict[_Key, _Counter] = {}
        self._containers: dict[str, dict[str, dict[str, Sample]]] = {}  # node → uid → container
        self._machines: dict[str, Sample] = {}
        self.is_new = False

    @property
    def is_empty(self) -> bool:
        """Whether no node has reported yet."""
        return not self._containers

    @property
    def has_counters(self) -> bool:
        return bool(self._counters)

    def containers(self, node: str, uid: str) -> dict[str, Sample] | None:
        """Of a pod, by container; None where the node has not reported it."""
        return self._containers.get(node, {}).get(uid)

    def machine(self, node: str) -> Sample | None:
        return self._machines.get(node)

    def keep_only(self, nodes: Collection[str]) -> None:
        """Starts a round: forgets nodes that are gone."""
        self.is_new = False
        for name in [name for name in self._containers if name not in nodes]:
            del self._containers[name]
            self._machines.pop(name, None)
        for key in [key for key in self._counters if key[0] not in nodes]:
            del self._counters[key]

    def note(self, node: str, summary: Any, now: float) -> None:
        """A node's summary at a time. Raises LookupError, TypeError, ValueError or
        AttributeError for nonsense."""
        node_usage = summary.get("node")
        if node_usage:
            sample = self._sample((node, "", ""), node_usage, now)
            if sample is not None:
                self._machines[node] = sample
        self._note_pods(node, summary.get("pods") or (), now)

    def _note_pods(self, node: str, pods: Any, now: float) -> None:
        samples: dict[str, dict[str, Sample]] = {}
        for pod in pods:
            uid = pod["podRef"]["uid"]
            for row in pod.get("containers") or ():
                sample = self._sample((node, uid, row["name"]), row, now)
                if sample is not None:
                    samples.setdefault(uid, {})[row["name"]] = sample
        live = {"", *(pod["podRef"]["uid"] for pod in pods)}
        for key in [key for key in self._counters if key[0] == node and key[1] not in live]:
            del self._counters[key]
        self._containers[node] = samples

    def _sample(self, key: _Key, row: Any, now: float) -> Sample | None:
        """The rates between a row of a summary and the one before; nothing the first time, and
        nothing when the container was started again."""
        total = int(row["cpu"]["usageCoreNanoSeconds"])
        before = self._counters.get(key)
        self._counters[key] = _Counter(total, now)
        self.is_new = self.is_new or before is None
        if before is None or total < before.total or now <= before.since:
            return None
        window = now - before.since
        rate = int((total - before.total) / window)
        return Sample(rate, int(row["memory"]["workingSetBytes"]), now, window)


def declared(pod: core_v1.Pod, now: float) -> dict[str, Sample]:
    """What a running pod on a hollow node uses, by container: what its annotations say, or what it
    requests."""
    if pod.status.phase != "Running":
        return {}
    annotations = pod.metadata.annotations
    samples = {}
    for container in pod.spec.containers:
        requests = container.resources.requests
        cpu = annotations.get("hollow.tiphys.io/cpu", requests.get("cpu", _NOTHING))
        memory = annotations.get("hollow.tiphys.io/memory", requests.get("memory", _NOTHING))
        samples[container.name] = Sample(nano(cpu), nano(memory) // NANO, now, _DECLARED)
    return samples


def total(samples: Collection[Sample], now: float) -> Sample:
    """What they use together."""
    cpu = sum(sample.cpu for sample in samples)
    memory = sum(sample.memory for sample in samples)
    return Sample(cpu, memory, now, _DECLARED)
