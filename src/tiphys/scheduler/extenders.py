"""Extenders: services that have a say in where pods go, asked over HTTP after the plugins.

Requests carry upstream's names (`Pod`, `NodeNames`: its types have no JSON names of their own); of answers the case of
names does not matter, as for upstream.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import msgspec

from tiphys.api import core_v1
from tiphys.api.base import to_builtins
from tiphys.scheduler.configuration import ConfigurationError

log = logging.getLogger(__name__)

# An extender's scores go to 10, those of plugins to 100.
SCALE = 10


class ExtenderError(Exception):
    """An extender that may not be ignored did not answer, or said that it failed."""


@dataclass(frozen=True)
class FilterAnswer:
    """Names of the nodes that `passed`, and why others `failed`. `unresolvable`: those where the going of pods would not
    help, and those of which nothing was said."""

    passed: set[str]
    failed: Mapping[str, str] = field(default_factory=dict)
    unresolvable: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Extender:
    """One extender, as a KubeSchedulerConfiguration describes it. Verbs that are empty are not asked."""

    url: str
    filter_verb: str = ""
    prioritize_verb: str = ""
    bind_verb: str = ""
    preempt_verb: str = ""
    weight: int = 1
    timeout: float = 5.0  # seconds
    ignorable: bool = False
    names_only: bool = False  # it knows the nodes: their names are enough
    resources: frozenset[str] = (
        frozenset()
    )  # only pods that ask for one of these are its business; empty: all are
    tls: Mapping[str, Any] = field(default_factory=dict, hash=False)
    secure: bool = False

    def wants(self, pod: core_v1.Pod) -> bool:
        if not self.resources:
            return True
        containers = [*pod.spec.containers, *pod.spec.init_containers]
        return any(
            self.resources & (c.resources.requests.keys() | c.resources.limits.keys())
            for c in containers
        )

    async def filter(self, pod: core_v1.Pod, nodes: list[core_v1.Node]) -> FilterAnswer:
        """Raises ExtenderError."""
        names = {node.metadata.name for node in nodes}
        if not self.filter_verb:
            return FilterAnswer(names)
        answer = await self._ask(self.filter_verb, self._arguments(pod, nodes))
        if answer is None:
            return FilterAnswer(names)
        if answer.get("error"):
            raise ExtenderError(str(answer["error"]))
        if answer.get("nodenames") is not None:
            passed = set(answer["nodenames"])
        elif answer.get("nodes") is not None:
            passed = {node["metadata"]["name"] for node in answer["nodes"].get("items") or ()}
        else:
            passed = set()
        hopeless = answer.get("failedandunresolvablenodes") or {}
        failed = {**(answer.get("failednodes") or {}), **hopeless}
        told = {str(name): str(reason) for name, reason in failed.items() if name in names}
        passed &= names
        return FilterAnswer(passed, told, frozenset(hopeless) | (names - passed - told.keys()))

    async def prioritize(self, pod: core_v1.Pod, nodes: list[core_v1.Node]) -> dict[str, float]:
        """Points by node, on the scale of plugins and weighed. One that does not answer gives none."""
        if not self.prioritize_verb:
            return {}
        try:
            rows = await self._ask(self.prioritize_verb, self._arguments(pod, nodes))
            points = [_lower(row) for row in rows or ()]
            return {str(row["host"]): float(row["score"]) * self.weight * SCALE for row in points}
        except (ExtenderError, KeyError, TypeError, ValueError) as error:
            log.warning("extender %s: %s", self.url, error)
            return {}

    async def bind(self, pod: core_v1.Pod, node: str) -> None:
        """Lets the extender bind the pod. Raises ExtenderError."""
        meta = pod.metadata
        wish = {
            "PodName": meta.name,
            "PodNamespace": meta.namespace,
            "PodUID": meta.uid,
            "Node": node,
        }
        answer = await self._ask(self.bind_verb, wish, must=True)
        if answer and answer.get("error"):
            raise ExtenderError(str(answer["error"]))

    def _arguments(self, pod: core_v1.Pod, nodes: list[core_v1.Node]) -> dict[str, Any]:
        wish: dict[str, Any] = {"Pod": to_builtins(pod), "Nodes": None, "NodeNames": None}
        if self.names_only:
            wish["NodeNames"] = [node.metadata.name for node in nodes]
        else:
            wish["Nodes"] = {"metadata": {}, "items": [to_builtins(node) for node in nodes]}
        return wish

    async def preempt(
        self, pod: core_v1.Pod, victims: Mapping[str, tuple[list[core_v1.Pod], int]]
    ) -> dict[str, tuple[set[str], int]]:
        """Of the nodes where pods could make room, those that the extender agrees with: node → (uids of the pods to go,
        how many budgets that breaks). `victims`: node → (pods, budgets broken). Raises ExtenderError."""
        unchanged = {
            node: ({p.metadata.uid for p in pods}, broken)
            for node, (pods, broken) in victims.items()
        }
        if not self.preempt_verb:
            return unchanged
        wish: dict[str, Any] = {
            "Pod": to_builtins(pod),
            "NodeNameToVictims": None,
            "NodeNameToMetaVictims": None,
        }
        if self.names_only:
            wish["NodeNameToMetaVictims"] = {
                node: {"Pods": [{"UID": p.metadata.uid} for p in pods], "NumPDBViolations": broken}
                for node, (pods, broken) in victims.items()
            }
        else:
            wish["NodeNameToVictims"] = {
                node: {"Pods": [to_builtins(p) for p in pods], "NumPDBViolations": broken}
                for node, (pods, broken) in victims.items()
            }
        answer = await self._ask(self.preempt_verb, wish)
        if answer is None:
            return unchanged
        found = {}
        for node, said in (answer.get("nodenametometavictims") or {}).items():
            row = _lower(said)
            uids = {str(_lower(p)["uid"]) for p in row.get("pods") or ()}
            if node in unchanged and uids <= unchanged[node][0]:
                found[str(node)] = uids, int(row.get("numpdbviolations") or 0)
        return found

    async def _ask(self, verb: str, wish: Any, must: bool = False) -> Any:
        """The answer; None when there is none and that may be ignored."""
        url = f"{self.url.rstrip('/')}/{verb}"
        try:
            timeout = aiohttp.ClientTimeout(total=self.timeout)
            async with aiohttp.ClientSession(timeout=timeout) as session:
                headers = {"Content-Type": "application/json"}
                kwargs: dict[str, Any] = {"ssl": self._context()} if self.secure else {}
                async with session.post(
                    url, data=msgspec.json.encode(wish), headers=headers, **kwargs
                ) as answer:
                    data = await answer.read()
                    if answer.status != 200:
                        raise ExtenderError(f"{url} answered {answer.status}")
                    return _lower(msgspec.json.decode(data))
        except (
            aiohttp.ClientError,
            OSError,
            TimeoutError,
            msgspec.DecodeError,
            ExtenderError,
        ) as error:
            if self.ignorable and not must:
                log.warning("extender %s is ignored: %s", self.url, error)
                return None
            raise ExtenderError(str(error) or type(error).__name__) from None

    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.tls.get("caFile") or None)
        if self.tls.get("insecure"):
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if self.tls.get("certFile"):
            context.load_cert_chain(self.tls["certFile"], self.tls.get("keyFile"))
        return context


def _lower(answer: Any) -> Any:
    """The names of an object in lower case; anything else as it is."""
    return (
        {str(key).lower(): value for key, value in answer.items()}
        if isinstance(answer, dict)
        else answer
    )


def extenders(document: Any) -> list[Extender]:
    """The extenders of a KubeSchedulerConfiguration. Raises ConfigurationError."""
    from tiphys.machinery.cel.conversions import parse_duration

    found = []
    for at, said in enumerate(document.get("extenders") or ()):
        path = f"extenders[{at}]"
        url, weight = said.get("urlPrefix") or "", said.get("weight") or 0
        if not url.startswith(("http://", "https://")):
            raise ConfigurationError(f"{path}.urlPrefix: must be an http or https URL")
        if said.get("prioritizeVerb") and weight <= 0:
            raise ConfigurationError(
                f"{path}.weight: Invalid value: {weight}: must have a positive weight applied to it"
            )
        found.append(
            Extender(
                url,
                said.get("filterVerb") or "",
                said.get("prioritizeVerb") or "",
                said.get("bindVerb") or "",
                said.get("preemptVerb") or "",
                weight or 1,
                parse_duration(said.get("httpTimeout") or "5s").total_seconds(),
                bool(said.get("ignorable")),
                bool(said.get("nodeCacheCapable")),
                frozenset(row["name"] for row in said.get("managedResources") or ()),
                said.get("tlsConfig") or {},
                bool(said.get("enableHTTPS")) or url.startswith("https://"),
            )
        )
    if sum(1 for one in found if one.bind_verb) > 1:
        raise ConfigurationError("extenders: Invalid value: only one extender can implement bind")
    return found
