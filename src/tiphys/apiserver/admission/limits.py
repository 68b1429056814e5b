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
    """Pods when they are created or resized, claims whenever they change."""

    resources = frozenset(("pods", "persistentvolumeclaims"))

    def _ranges(self, namespace: str) -> list[core_v1.LimitRange]:
        cache = self._registry().cache(_LIMITS)
        if not len(cache):
            return []
        entries = cache.select(Filter(f"{_LIMITS.prefix}{namespace}/"))
        return [decode(entry.data, core_v1.LimitRange) for entry in entries]

    async def mutate(self, a: Attributes) -> None:
        if a.operation == "CREATE" and not a.subresource and a.resource.plural == "pods":
            for limit_range in self._ranges(a.namespace):
                fill_in(a.obj, limit_range)

    async def validate(self, a: Attributes) -> None:
        if a.operation not in ("CREATE", "UPDATE"):
            return
        is_pod = a.resource.plural == "pods"
        # Nothing but a resize changes what a pod asks for once it is created.
        looked_at = "resize" if is_pod and a.operation == "UPDATE" else ""
        if a.subresource != looked_at:
            return
        find_problems = pod_problems if is_pod else claim_problems
        problems: list[str] = []
        for limit_range in self._ranges(a.namespace):
            for item in limit_range.spec.limits:
                problems += find_problems(item, a.obj)
        if problems:
            message = problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]"
            name = a.name or a.obj.metadata.name
            raise errors.forbidden(a.resource.group_resource, name, message)


def fill_in(pod: core_v1.Pod, limit_range: core_v1.LimitRange) -> None:
    """Gives containers the defaults they lack, and lists them in an annotation of the pod."""
    limits: Amounts = {}
    requests: Amounts = {}
    for item in limit_range.spec.limits:
        if item.type == "Container":
            limits |= item.default
            requests |= item.default_request
    changes: list[str] = []
    for container in pod.spec.containers:
        changes += _complete(container, requests, limits, f"container {container.name}")
    for container in pod.spec.init_containers:
        changes += _complete(container, requests, limits, f"init container {container.name}")
    if changes:
        pod.metadata.annotations[ANNOTATION] = "LimitRanger plugin set: " + "; ".join(changes)


def _complete(
    container: core_v1.Container, requests: Amounts, limits: Amounts, whose: str
) -> list[str]:
    """Adds the amounts that a container lacks. Returns what was added, in words."""
    changes = []
    for word, amounts, defaults in (
        ("request", container.resources.requests, requests),
        ("limit", container.resources.limits, limits),
    ):
        missing = sorted(set(defaults) - set(amounts))
        amounts.update({name: defaults[name] for name in missing})
        if missing:
            changes.append(f"{', '.join(missing)} {word} for {whose}")
    return changes


def pod_problems(item: core_v1.LimitRangeItem, pod: core_v1.Pod) -> list[str]:
    """How a pod, or its containers, break a limit, in upstream's words."""
    if item.type == "Pod":
        requests = pod_amounts(pod.spec, "requests")
        return _bounds(item, requests, pod_amounts(pod.spec, "limits"))
    if item.type != "Container":
        return []
    problems: list[str] = []
    for container in [*pod.spec.containers, *pod.spec.init_containers]:
        problems += _bounds(item, container.resources.requests, container.resources.limits)
    return problems


def claim_problems(item: core_v1.LimitRangeItem, claim: core_v1.PersistentVolumeClaim) -> list[str]:
    """How a claim breaks a limit: only what it requests counts."""
    if item.type != "PersistentVolumeClaim":
        return []
    requests = claim.spec.resources.requests
    return _minimum(item, requests, {}) + _maximum(item, {}, requests, "request")


def _bounds(item: core_v1.LimitRangeItem, requests: Amounts, limits: Amounts) -> list[str]:
    return [
        *_minimum(item, requests, limits),
        *_maximum(item, requests, limits, "limit"),
        *_ratio(item, requests, limits),
    ]


def _minimum(item: core_v1.LimitRangeItem, requests: Amounts, limits: Amounts) -> list[str]:
    problems = []
    for name, bound in item.min.items():
        head = f"minimum {name} usage per {item.type} is {bound}"
        if name not in requests:
            problems.append(f"{head}.  No request is specified")
        elif nano(requests[name]) < nano(bound):
            problems.append(f"{head}, but request is {requests[name]}")
        elif name in limits and nano(limits[name]) < nano(bound):
            problems.append(f"{head}, but limit is {limits[name]}")
    return problems


def _maximum(
    item: core_v1.LimitRangeItem, requests: Amounts, limits: Amounts, word: str
) -> list[str]:
    """`limits` is what has to be there and is called `word`."""
    problems = []
    for name, bound in item.max.items():
        head = f"maximum {name} usage per {item.type} is {bound}"
        if name not in limits:
            problems.append(f"{head}.  No {word} is specified")
        elif nano(limits[name]) > nano(bound):
            problems.append(f"{head}, but {word} is {limits[name]}")
        elif name in requests and nano(requests[name]) > nano(bound):
            problems.append(f"{head}, but request is {requests[name]}")
    return problems


def _ratio(item: core_v1.LimitRangeItem, requests: Amounts, limits: Amounts) -> list[str]:
    problems = []
    for name, most in item.max_limit_request_ratio.items():
        head = f"{name} max limit to request ratio per {item.type} is {most}"
        if not nano(requests.get(name, "0")):
            problems.append(f"{head}, but no request is specified or request is 0")
        elif not nano(limits.get(name, "0")):
            problems.append(f"{head}, but no limit is specified or limit is 0")
        elif nano(limits[name]) * 10**9 > nano(most) * nano(requests[name]):
            ratio = nano(limits[name]) / nano(requests[name])
            problems.append(f"{head}, but provided ratio is {ratio:f}")
    return problems
