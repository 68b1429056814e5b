"""The resource metrics API (metrics.k8s.io): what pods and nodes use, as the nodes tell it, for
`kubectl top` and for autoscaling. A metrics server that is installed as an APIService takes its
place.

Every few seconds each node is asked for its summary; two of them make a rate. Hollow nodes have no
  containers to
measure: their pods use what the annotations `hollow.tiphys.io/cpu` and `/memory` say for each
  container, or what they
request.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from dataclasses import dataclass
from typing import Any

import aiohttp
import msgspec
from aiohttp import web

from tiphys.api import core_v1
from tiphys.api.base import Quantity, decode, encode, format_quantity
from tiphys.api.catalog import Resource, resource_of
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.api.metrics_v1beta1 import (
    ContainerMetrics,
    NodeMetrics,
    PodMetrics,
)
from tiphys.apiserver.http import respond
from tiphys.apiserver.http.lists import short_list
from tiphys.apiserver.http.request import Call
from tiphys.apiserver.registry.registry import Registry
from tiphys.apiserver.registry.views import view_of
from tiphys.client.answers import body_of
from tiphys.machinery import errors, timestamps
from tiphys.machinery.addresses import authority
from tiphys.machinery.names import is_ip
from tiphys.machinery.quantity import NANO, nano

log = logging.getLogger(__name__)
_EVERY = 10.0  # seconds
_DECLARED = 0.0  # what hollow pods use is said by them, not measured over a time
_FEW = 20  # nodes that are asked whether anybody wants to know or not
_LONGEST_SUMMARY = 16 << 20  # bytes: that of a thousand pods is under two
_NODES, _PODS = resource_of(core_v1.Node), resource_of(core_v1.Pod)
GROUP = "metrics.k8s.io"


@dataclass(slots=True)
class Sample:
    """cpu: nano cores; memory: bytes; since: seconds since the epoch; window: seconds that the rate
    is of."""

    cpu: int
    memory: int
    since: float
    window: float

    def usage(self) -> dict[str, Any]:
        memory = self.memory // 1024 * 1024 * NANO
        return {"cpu": format_quantity(self.cpu), "memory": format_quantity(memory, "binary")}


class Usage:
    """The samples of every node. `run` collects, `answer` serves."""

    def __init__(self, registry: Registry, tls: ssl.SSLContext | None) -> None:
        self._registry = registry
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None
        self._counters: dict[
            tuple[str, str, str], tuple[int, float]
        ] = {}  # (node, pod uid, container) → (ns, when)
        self._containers: dict[str, dict[str, dict[str, Sample]]] = {}  # node → pod uid → container
        self._machines: dict[str, Sample] = {}  # nodes as a whole
        self._seen_once = False  # whether something was seen for the first time in the last round
        self._asked = -1e9

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def run(self) -> None:
        """Asks the nodes again and again; many of them only while somebody wants to know."""
        while True:
            wanted = time.monotonic() - self._asked < 300
            if wanted or len(self._registry.cache(_NODES)) <= _FEW:
                await self.collect()
            # A rate takes two looks: the second one soon, so that there is something to show.
            await asyncio.sleep(1.0 if self._seen_once or not self._counters else _EVERY)

    async def collect(self) -> None:
        """One round over all nodes."""
        self._seen_once = False
        nodes = [decode(entry.data, core_v1.Node) for entry in self._registry.cache(_NODES)]
        known = {node.metadata.name for node in nodes}
        for name in [name for name in self._containers if name not in known]:
            del self._containers[name]
            self._machines.pop(name, None)
        await asyncio.gather(
            *(self._node(node) for node in nodes if node.metadata.labels.get("type") != "hollow")
        )

    async def _node(self, node: core_v1.Node) -> None:
        addresses = {a.type: a.address for a in reversed(node.status.addresses)}  # the first
        host, port = (
            addresses.get("InternalIP", ""),
            node.status.daemon_endpoints.kubelet_endpoint.port,
        )
        if not is_ip(host) or not 0 < port < 1 << 16 or self._tls is None:
            return
        name = node.metadata.name
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5))
        try:
            url = f"https://{authority(host, port)}/stats/summary"
            async with self._session.get(
                url, ssl=self._tls, server_hostname=name, allow_redirects=False
            ) as answer:
                body = await body_of(answer, _LONGEST_SUMMARY) if answer.status == 200 else b"{}"
            self._summarized(name, msgspec.json.decode(body))
        # A node that says nonsense loses its own numbers, and nobody else's.
        except (
            TimeoutError,
            aiohttp.ClientError,
            OSError,
            LookupError,
            TypeError,
            ValueError,
            AttributeError,
            RecursionError,
        ) as error:
            log.debug("metrics of %s: %s", name, error)

    def _summarized(self, name: str, summary: Any) -> None:
        now = time.time()
        if (whole := summary.get("node")) and (sample := self._sample((name, "", ""), whole, now)):
            self._machines[name] = sample
        self._note(name, summary.get("pods") or (), now)

    def _sample(self, key: tuple[str, str, str], row: Any, now: float) -> Sample | None:
        """What a row of a summary tells beside the one before; nothing the first time."""
        total, before = int(row["cpu"]["usageCoreNanoSeconds"]), self._counters.get(key)
        self._counters[key] = (total, now)
        self._seen_once = self._seen_once or before is None
        if before is None or total < before[0] or now <= before[1]:
            return None
        rate = int((total - before[0]) / (now - before[1]))
        return Sample(rate, int(row["memory"]["workingSetBytes"]), now, now - before[1])

    def _note(self, node: str, pods: Any, now: float) -> None:
        found: dict[str, dict[str, Sample]] = {}
        for pod in pods:
            uid = pod["podRef"]["uid"]
            for row in pod.get("containers") or ():
                if sample := self._sample((node, uid, row["name"]), row, now):
                    found.setdefault(uid, {})[row["name"]] = sample
        live = {(node, ""), *((node, pod["podRef"]["uid"]) for pod in pods)}
        for gone in [k for k in self._counters if k[0] == node and k[:2] not in live]:
            del self._counters[gone]
        self._containers[node] = found

    # --- answers ---

    async def answer(self, call: Call, resource: Resource) -> web.StreamResponse:
        """GET of one or of all, in a namespace or everywhere, with label selectors."""
        self._asked = time.monotonic()
        if not self._containers:
            await self.collect()
        pods = resource.plural == "pods"
        source = _PODS if pods else _NODES
        make = self._pod if pods else self._node_metrics
        if call.info.name and call.info.verb == "get":
            entry = self._registry.entry(source, call.info.namespace, call.info.name)
            made = make(entry.data)
            if made is None:
                raise errors.not_found(f"{'pods' if pods else 'nodes'}.{GROUP}", call.info.name)
            return self._answered(call, encode(made))
        rows = [
            encode(made)
            for entry in self._registry.cache(source).select(view_of(call, source, self._registry))
            if (made := make(entry.data))
        ]
        return self._answered(call, short_list(resource, rows))

    @staticmethod
    def _answered(call: Call, data: bytes) -> web.Response:
        # Not in protobuf: a window is a message of its own there, for the sake of one field.
        return respond.formed(call, data, respond.accepted(call.http.headers.get("Accept", "")))

    def _samples(self, pod: core_v1.Pod) -> dict[str, Sample]:
        measured = self._containers.get(pod.spec.node_name, {}).get(pod.metadata.uid)
        if measured is not None:
            return measured
        entry = self._registry.cache(_NODES).get(_NODES.key("", pod.spec.node_name))
        if entry is None or entry.labels.get("type") != "hollow" or pod.status.phase != "Running":
            return {}
        said, now, zero = pod.metadata.annotations, time.time(), Quantity("0")
        return {
            c.name: Sample(
                nano(said.get("hollow.tiphys.io/cpu", c.resources.requests.get("cpu", zero))),
                nano(said.get("hollow.tiphys.io/memory", c.resources.requests.get("memory", zero)))
                // NANO,
                now,
                _DECLARED,
            )
            for c in pod.spec.containers
        }

    def _pod(self, data: bytes) -> PodMetrics | None:
        pod = decode(data, core_v1.Pod)
        samples = self._samples(pod)
        if not samples:
            return None
        meta = pod.metadata
        latest = max(samples.values(), key=lambda s: s.since)
        made = PodMetrics(
            metadata=ObjectMeta(name=meta.name, namespace=meta.namespace, labels=dict(meta.labels))
        )
        made.metadata.creation_timestamp = made.timestamp = timestamps.rfc3339(latest.since)
        made.window = f"{latest.window:.3f}s"
        made.containers = [
            ContainerMetrics(name=name, usage=s.usage()) for name, s in sorted(samples.items())
        ]
        return made

    def _node_metrics(self, data: bytes) -> NodeMetrics | None:
        node = decode(data, core_v1.Node)
        name, hollow = node.metadata.name, node.metadata.labels.get("type") == "hollow"
        if not hollow and name not in self._machines:
            return None
        if hollow:
            pods = (
                decode(entry.data, core_v1.Pod)
                for entry in self._registry.cache(_PODS)
                if entry.fields.get("spec.nodeName") == name
            )
            samples = [s for pod in pods for s in self._samples(pod).values()]
            total = Sample(
                sum(s.cpu for s in samples), sum(s.memory for s in samples), time.time(), _DECLARED
            )
        else:
            total = self._machines[name]
        made = NodeMetrics(
            metadata=ObjectMeta(name=name, labels=dict(node.metadata.labels)), usage=total.usage()
        )
        made.metadata.creation_timestamp = made.timestamp = timestamps.rfc3339(total.since)
        made.window = f"{total.window:.3f}s"
        return made
