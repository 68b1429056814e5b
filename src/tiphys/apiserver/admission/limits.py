"""LimitRanger: the defaults and bounds that a namespace's LimitRanges set."""

from __future__ import annotations

from tiphys.api import core_v1
from tiphys.api.base import Quantity, decode
from tiphys.api.catalog import BY_PATH
from tiphys.apiserver.admission import Asking, Attributes
from tiphys.machinery import errors
from tiphys.machinery.quantity import nano
from tiphys.machinery.quota import pod_amounts
from tiphys.store.cache import Filter

_LIMITS = BY_PATH["", "v1", "limitranges"]
ANNOTATION = "kubernetes.io/limit-ranger"
Amounts = dict[str, Quantity]


class LimitRanger(Asking):
    """Pods when they are made or resized, claims whenever they change."""

    resources = frozenset(("pods", "persistentvolumeclaims"))

    def _ranges(self, namespace: str) -> list[core_v1.LimitRange]:
        cache = self._registry().cache(_LIMITS)
        if not len(cache):
            return []
        return [
            decode(e.data, core_v1.LimitRange)
            for e in cache.select(Filter(f"{_LIMITS.prefix}{namespace}/"))
        ]

    async def mutate(self, a: Attributes) -> None:
        if a.operation == "CREATE" and not a.subresource and a.resource.plural == "pods":
            for found in self._ranges(a.namespace):
                _fill_in(a.obj, found)

    async def validate(self, a: Attributes) -> None:
        if a.operation not in ("CREATE", "UPDATE"):
            return
        pods = a.resource.plural == "pods"
        if a.subresource != ("resize" if pods and a.operation == "UPDATE" else ""):
            return
        judge = pod_problems if pods else claim_problems
        problems = [
            p
            for found in self._ranges(a.namespace)
            for item in found.spec.limits
            for p in judge(item, a.obj)
        ]
        if problems:
            why = problems[0] if len(problems) == 1 else "[" + ", ".join(problems) + "]"
            raise errors.forbidden(a.resource.group_resource, a.name or a.obj.metadata.name, why)


def _fill_in(pod: core_v1.Pod, found: core_v1.LimitRange) -> None:
    """Gives containers the defaults they lack, and notes that on the pod."""
    limits: Amounts = {}
    requests: Amounts = {}
    for item in found.spec.limits:
        if item.type == "Container":
            limits |= item.default
            requests |= item.default_request
    told = []
    for what, containers in (
        ("container", pod.spec.containers),
        ("init container", pod.spec.init_containers),
    ):
        for container in containers:
            for which, defaults in (("request", requests), ("limit", limits)):
                amounts = (
                    container.resources.requests
                    if which == "request"
                    else container.resources.limits
                )
                missing = sorted(set(defaults) - set(amounts))
                amounts.update({name: defaults[name] for name in missing})
                if missing:
                    told.append(f"{', '.join(missing)} {which} for {what} {container.name}")
    if told:
        pod.metadata.annotations[ANNOTATION] = "LimitRanger plugin set: " + "; ".join(told)


def pod_problems(item: core_v1.LimitRangeItem, pod: core_v1.Pod) -> list[str]:
    """How a pod, or its containers, break a limit."""
    if item.type == "Pod":
        return _bounds(item, pod_amounts(pod.spec, "requests"), pod_amounts(pod.spec, "limits"))
    if item.type != "Container":
        return []
    containers = [*pod.spec.containers, *pod.spec.init_containers]
    return [p for c in containers for p in _bounds(item, c.resources.requests, c.resources.limits)]


def claim_problems(item: core_v1.LimitRangeItem, claim: core_v1.PersistentVolumeClaim) -> list[str]:
    """How a claim breaks a limit: only what it requests counts."""
    if item.type != "PersistentVolumeClaim":
        return []
    requests = claim.spec.resources.requests
    return _minimum(item, requests, {}) + _maximum(item, {}, requests, "request")


def _bounds(item: core_v1.LimitRangeItem, requests: Amounts, limits: Amounts) -> list[str]:
    return (
        _minimum(item, requests, limits)
        + _maximum(item, requests, limits, "limit")
        + _ratio(item, requests, limits)
    )


def _minimum(item: core_v1.LimitRangeItem, requests: Amounts, limits: Amounts) -> list[str]:
    found = []
    for name, bound in item.min.items():
        head = f"minimum {name} usage per {item.type} is {bound}"
        if name not in requests:
            found.append(f"{head}.  No request is specified")
        elif nano(requests[name]) < nano(bound):
            found.append(f"{head}, but request is {requests[name]}")
        elif name in limits and nano(limits[name]) < nano(bound):
            found.append(f"{head}, but limit is {limits[name]}")
    return found


def _maximum(
    item: core_v1.LimitRangeItem, requests: Amounts, limits: Amounts, word: str
) -> list[str]:
    """`limits` is what has to be there and is called `word`."""
    found = []
    for name, bound in item.max.items():
        head = f"maximum {name} usage per {item.type} is {bound}"
        if name not in limits:
            found.append(f"{head}.  No {word} is specified")
        elif nano(limits[name]) > nano(bound):
            found.append(f"{head}, but {word} is {limits[name]}")
        elif name in requests and nano(requests[name]) > nano(bound):
            found.append(f"{head}, but request is {requests[name]}")
    return found


def _ratio(item: core_v1.LimitRangeItem, requests: Amounts, limits: Amounts) -> list[str]:
    found = []
    for name, most in item.max_limit_request_ratio.items():
        head = f"{name} max limit to request ratio per {item.type} is {most}"
        if not nano(requests.get(name, "0")):
            found.append(f"{head}, but no request is specified or request is 0")
        elif not nano(limits.get(name, "0")):
            found.append(f"{head}, but no limit is specified or limit is 0")
        elif nano(limits[name]) * 10**9 > nano(most) * nano(requests[name]):
            found.append(
                f"{head}, but provided ratio is {nano(limits[name]) / nano(requests[name]):f}"
            )
    return found
