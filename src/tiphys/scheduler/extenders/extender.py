"""One extender, asked over HTTP.

Requests have upstream's Go names (`Pod`, `NodeNames`): its types have no JSON names of their own.
In answers the case of names does not matter, as for upstream.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import aiohttp
import msgspec

from tiphys.api import core_v1
from tiphys.api.base import to_builtins

log = logging.getLogger(__name__)

# Extenders score up to 10, plugins up to 100.
_SCORE_SCALE = 10


class ExtenderError(Exception):
    """An extender that is not ignorable did not answer, or reported an error."""


@dataclass(frozen=True)
class FilterAnswer:
    """Names of the nodes that `passed`, and why others `failed`.

    `unresolvable` are those where preemption would not help, and those of which the extender said
    nothing.
    """

    passed: set[str]
    failed: Mapping[str, str] = field(default_factory=dict)
    unresolvable: frozenset[str] = frozenset()


class Victims(NamedTuple):
    """The pods that would be preempted on a node, and how many disruption budgets that violates."""

    pods: Sequence[core_v1.Pod]
    pdb_violations: int


class VictimUIDs(NamedTuple):
    uids: set[str]
    pdb_violations: int


@dataclass(frozen=True)
class Extender:
    """An extender as a KubeSchedulerConfiguration describes it. An empty verb is not asked."""

    url: str
    filter_verb: str = ""
    prioritize_verb: str = ""
    bind_verb: str = ""
    preempt_verb: str = ""
    weight: int = 1
    timeout: float = 5.0  # seconds
    ignorable: bool = False
    node_cache_capable: bool = False  # it knows the nodes: their names are enough
    managed_resources: frozenset[str] = (
        frozenset()
    )  # it is asked for pods with one of these; empty: all
    tls: Mapping[str, Any] = field(default_factory=dict, hash=False)
    enable_https: bool = False

    def is_interested(self, pod: core_v1.Pod) -> bool:
        if not self.managed_resources:
            return True
        containers = [*pod.spec.containers, *pod.spec.init_containers]
        return any(
            self.managed_resources & (c.resources.requests.keys() | c.resources.limits.keys())
            for c in containers
        )

    async def filter(self, pod: core_v1.Pod, nodes: Sequence[core_v1.Node]) -> FilterAnswer:
        """Raises ExtenderError."""
        names = {node.metadata.name for node in nodes}
        if not self.filter_verb:
            return FilterAnswer(names)
        answer = await self._post(self.filter_verb, self._arguments(pod, nodes))
        if answer is None:
            return FilterAnswer(names)
        if answer.get("error"):
            raise ExtenderError(str(answer["error"]))
        unresolvable = answer.get("failedandunresolvablenodes") or {}
        all_failed = {**(answer.get("failednodes") or {}), **unresolvable}
        failed = {str(name): str(reason) for name, reason in all_failed.items() if name in names}
        passed = _passed_names(answer) & names
        unmentioned = names - passed - failed.keys()
        return FilterAnswer(passed, failed, frozenset(unresolvable) | unmentioned)

    async def prioritize(self, pod: core_v1.Pod, nodes: Sequence[core_v1.Node]) -> dict[str, float]:
        """Weighted scores by node, on the scale of plugins. An extender that fails scores nothing,
        as for upstream."""
        if not self.prioritize_verb:
            return {}
        factor = self.weight * _SCORE_SCALE
        try:
            answer = await self._post(self.prioritize_verb, self._arguments(pod, nodes))
            scores = [_lower_names(entry) for entry in answer or ()]
            return {str(entry["host"]): float(entry["score"]) * factor for entry in scores}
        except (ExtenderError, KeyError, TypeError, ValueError) as error:
            log.warning("Extender %s did not score nodes: %s", self.url, error)
            return {}

    async def bind(self, pod: core_v1.Pod, node_name: str) -> None:
        """Lets the extender bind the pod. Raises ExtenderError."""
        meta = pod.metadata
        arguments = {
            "PodName": meta.name,
            "PodNamespace": meta.namespace,
            "PodUID": meta.uid,
            "Node": node_name,
        }
        answer = await self._post(self.bind_verb, arguments, may_ignore=False)
        if answer and answer.get("error"):
            raise ExtenderError(str(answer["error"]))

    async def preempt(
        self, pod: core_v1.Pod, victims: Mapping[str, Victims]
    ) -> dict[str, VictimUIDs]:
        """Of the nodes where pods could be preempted, those that the extender agrees with. It may
        leave victims out. Raises ExtenderError."""
        unchanged = {
            node_name: VictimUIDs({p.metadata.uid for p in on_node.pods}, on_node.pdb_violations)
            for node_name, on_node in victims.items()
        }
        if not self.preempt_verb:
            return unchanged
        answer = await self._post(self.preempt_verb, self._preempt_arguments(pod, victims))
        if answer is None:
            return unchanged
        agreed = {}
        for node_name, entry in (answer.get("nodenametometavictims") or {}).items():
            on_node = _lower_names(entry)
            uids = {str(_lower_names(victim)["uid"]) for victim in on_node.get("pods") or ()}
            if node_name in unchanged and uids <= unchanged[node_name].uids:
                violations = int(on_node.get("numpdbviolations") or 0)
                agreed[str(node_name)] = VictimUIDs(uids, violations)
        return agreed

    def _arguments(self, pod: core_v1.Pod, nodes: Sequence[core_v1.Node]) -> dict[str, Any]:
        arguments: dict[str, Any] = {"Pod": to_builtins(pod), "Nodes": None, "NodeNames": None}
        if self.node_cache_capable:
            arguments["NodeNames"] = [node.metadata.name for node in nodes]
        else:
            items = [to_builtins(node) for node in nodes]
            arguments["Nodes"] = {"metadata": {}, "items": items}
        return arguments

    def _preempt_arguments(
        self, pod: core_v1.Pod, victims: Mapping[str, Victims]
    ) -> dict[str, Any]:
        by_node = {}
        for node_name, on_node in victims.items():
            if self.node_cache_capable:
                pods = [{"UID": victim.metadata.uid} for victim in on_node.pods]
            else:
                pods = [to_builtins(victim) for victim in on_node.pods]
            by_node[node_name] = {"Pods": pods, "NumPDBViolations": on_node.pdb_violations}
        return {
            "Pod": to_builtins(pod),
            "NodeNameToVictims": None if self.node_cache_capable else by_node,
            "NodeNameToMetaVictims": by_node if self.node_cache_capable else None,
        }

    async def _post(self, verb: str, arguments: Any, may_ignore: bool = True) -> Any:
        """The answer, its names in lower case; None when there is none and that may be ignored.
        Raises ExtenderError."""
        url = f"{self.url.rstrip('/')}/{verb}"
        try:
            return await self._answer(url, msgspec.json.encode(arguments))
        except (
            aiohttp.ClientError,
            OSError,
            TimeoutError,
            msgspec.DecodeError,
            ExtenderError,
        ) as error:
            if self.ignorable and may_ignore:
                log.warning("Extender %s is ignored: %s", self.url, error)
                return None
            raise ExtenderError(str(error) or type(error).__name__) from None

    async def _answer(self, url: str, body: bytes) -> Any:
        timeout = aiohttp.ClientTimeout(total=self.timeout)
        headers = {"Content-Type": "application/json"}
        tls: Any = self._tls_context() if self.enable_https else True
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.post(url, data=body, headers=headers, ssl=tls) as response,
        ):
            answer = await response.read()
            if response.status != 200:
                raise ExtenderError(f"{url} answered {response.status}")
            return _lower_names(msgspec.json.decode(answer))

    def _tls_context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.tls.get("caFile") or None)
        if self.tls.get("insecure"):
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.tls.get("certFile"):
            context.load_cert_chain(self.tls["certFile"], self.tls.get("keyFile"))
        return context


def _passed_names(answer: Mapping[str, Any]) -> set[str]:
    if answer.get("nodenames") is not None:
        return set(answer["nodenames"])
    if answer.get("nodes") is not None:
        return {node["metadata"]["name"] for node in answer["nodes"].get("items") or ()}
    return set()


def _lower_names(answer: Any) -> Any:
    """An object with its names in lower case; anything else as it is."""
    if not isinstance(answer, dict):
        return answer
    return {str(name).lower(): value for name, value in answer.items()}
