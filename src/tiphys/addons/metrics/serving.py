"""The resource metrics API at work: asks the nodes, and answers.

Every few seconds each node's summary is read; two of them make a rate. Hollow nodes have no
containers to measure, and are not read.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Sequence

import aiohttp
import msgspec
from aiohttp import web

from tiphys.addons.metrics import GROUP
from tiphys.addons.metrics.objects import node_metrics, pod_metrics
from tiphys.addons.metrics.sampling import Sample, Sampler, declared, total
from tiphys.api import core_v1
from tiphys.api.base import decode, encode
from tiphys.api.catalog import Resource, resource_of
from tiphys.api.metrics_v1beta1 import NodeMetrics, PodMetrics
from tiphys.apiserver.http import respond
from tiphys.apiserver.http.lists import short_list
from tiphys.apiserver.http.request import Call
from tiphys.apiserver.registry.registry import Registry
from tiphys.apiserver.registry.views import view_of
from tiphys.client.answers import body_of
from tiphys.machinery import errors
from tiphys.machinery.addresses import authority
from tiphys.machinery.names import is_ip
from tiphys.store.cache import Entry

log = logging.getLogger(__name__)
_EVERY = 10.0  # seconds
_SOON = 1.0
_WANTED = 300.0  # seconds for which a request keeps many nodes being scraped
_FEW = 20  # nodes that are scraped even without requests
_LONGEST_SUMMARY = 16 << 20  # bytes: that of a thousand pods is under two
_PATIENCE = 5  # seconds that a node has to answer
_SOME = 20  # objects that are worked on in one step: about a millisecond
_NODES, _PODS = resource_of(core_v1.Node), resource_of(core_v1.Pod)
# A node with invalid numbers loses its own numbers only.
_NONSENSE = (
    TimeoutError,
    aiohttp.ClientError,
    OSError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    RecursionError,
)


class ResourceMetrics:
    """The group metrics.k8s.io. `tls` is for connections to nodes, `sampler` has what they said."""

    group = GROUP

    def __init__(self, registry: Registry, tls: ssl.SSLContext | None) -> None:
        self._registry = registry
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None
        self.sampler = Sampler()
        self._asked = -_WANTED  # monotonic: time of the last request

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def run(self) -> None:
        """Scrapes the nodes periodically; many of them only while there are requests."""
        while True:
            if is_wanted(time.monotonic() - self._asked, len(self._registry.cache(_NODES))):
                await self.collect()
            await asyncio.sleep(pause_after(self.sampler))

    async def collect(self) -> None:
        """One round over all nodes."""
        nodes = [decode(entry.data, core_v1.Node) for entry in self._registry.cache(_NODES)]
        self.sampler.keep_only({node.metadata.name for node in nodes})
        await asyncio.gather(*(self._ask(node) for node in nodes if not _is_hollow(node)))

    async def _ask(self, node: core_v1.Node) -> None:
        url = summary_url(node)
        if not url or self._tls is None:
            return
        name = node.metadata.name
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=_PATIENCE)
            self._session = aiohttp.ClientSession(timeout=timeout)
        try:
            async with self._session.get(
                url, ssl=self._tls, server_hostname=name, allow_redirects=False
            ) as answer:
                body = await body_of(answer, _LONGEST_SUMMARY) if answer.status == 200 else b"{}"
            self.sampler.note(name, msgspec.json.decode(body), time.time())
        except _NONSENSE as error:
            log.debug("metrics of %s: %s", name, error)

    # --- answers ---

    async def answer(self, call: Call, resource: Resource) -> web.StreamResponse:
        """GET of one or of all, in a namespace or everywhere, with label selectors."""
        self._asked = time.monotonic()
        if self.sampler.is_empty:
            await self.collect()
        source = _PODS if resource.plural == "pods" else _NODES
        if call.info.name and call.info.verb == "get":
            entry = self._registry.entry(source, call.info.namespace, call.info.name)
            chunks = await self._encoded(call, source, [entry])
            if not chunks:
                raise errors.not_found(f"{source.plural}.{GROUP}", call.info.name)
            return _answered(call, chunks[0])
        entries = list(self._registry.cache(source).select(view_of(call, source, self._registry)))
        return _answered(call, short_list(resource, await self._encoded(call, source, entries)))

    async def _encoded(self, call: Call, source: Resource, entries: Sequence[Entry]) -> list[bytes]:
        """The metrics of those pods or nodes of which something is known, in steps."""
        is_pods = source is _PODS
        by_node = {} if is_pods else await self._hollow_pods(call, entries)
        chunks: list[bytes] = []
        async for some in self._registry.turns.sliced(call.user.name, entries, _SOME):
            for entry in some:
                metrics = self._pod(entry) if is_pods else self._node(entry, by_node)
                if metrics is not None:
                    chunks.append(encode(metrics))
        return chunks

    async def _hollow_pods(self, call: Call, nodes: Sequence[Entry]) -> dict[str, list[Sample]]:
        """What the pods of hollow nodes use, by node."""
        hollow = {
            entry.fields["metadata.name"] for entry in nodes if entry.labels.get("type") == "hollow"
        }
        samples: dict[str, list[Sample]] = {name: [] for name in hollow}
        if not hollow:
            return samples
        pods = list(self._registry.cache(_PODS))
        async for some in self._registry.turns.sliced(call.user.name, pods, _SOME):
            for entry in some:
                node = entry.fields.get("spec.nodeName", "")
                if node in hollow:
                    pod = decode(entry.data, core_v1.Pod)
                    samples[node] += declared(pod, time.time()).values()
        return samples

    def _pod(self, entry: Entry) -> PodMetrics | None:
        pod = decode(entry.data, core_v1.Pod)
        node = pod.spec.node_name
        samples = self.sampler.containers(node, pod.metadata.uid)
        if samples is None:
            place = self._registry.cache(_NODES).get(_NODES.key("", node))
            if place is None or place.labels.get("type") != "hollow":
                return None
            samples = declared(pod, time.time())
        return pod_metrics(pod, samples)

    def _node(self, entry: Entry, hollow: dict[str, list[Sample]]) -> NodeMetrics | None:
        node = decode(entry.data, core_v1.Node)
        name = node.metadata.name
        if name in hollow:
            return node_metrics(node, total(hollow[name], time.time()))
        sample = self.sampler.machine(name)
        return node_metrics(node, sample) if sample is not None else None


def is_wanted(unasked: float, nodes: int) -> bool:
    """Whether nodes are asked, so many seconds after somebody last wanted to know."""
    return unasked < _WANTED or nodes <= _FEW


def pause_after(sampler: Sampler) -> float:
    """Seconds until the next round. A rate takes two looks: the second one comes soon, so that
    there is something to show."""
    return _SOON if sampler.is_new or not sampler.has_counters else _EVERY


def summary_url(node: core_v1.Node) -> str:
    """Where a node is asked for its summary; empty where it says no address or no port."""
    addresses = [one.address for one in node.status.addresses if one.type == "InternalIP"]
    port = node.status.daemon_endpoints.kubelet_endpoint.port
    if not addresses or not is_ip(addresses[0]) or not 0 < port < 1 << 16:
        return ""
    return f"https://{authority(addresses[0], port)}/stats/summary"


def _is_hollow(node: core_v1.Node) -> bool:
    return node.metadata.labels.get("type") == "hollow"


def _answered(call: Call, data: bytes) -> web.Response:
    # Not in protobuf: a window is a message of its own there, for the sake of one field.
    return respond.formed(call, data, respond.accepted(call.http.headers.get("Accept", "")))
