"""Priority: the number and the preemption policy behind a pod's priority class."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tiphys.api import core_v1
from tiphys.api.base import decode
from tiphys.api.catalog import BY_PATH
from tiphys.api.scheduling_v1 import PriorityClass
from tiphys.apiserver.admission import Asking, Attributes
from tiphys.machinery import errors
from tiphys.machinery.derived import Derived
from tiphys.store.cache import ResourceCache

_CLASSES = BY_PATH["scheduling.k8s.io", "v1", "priorityclasses"]


class Priority(Asking):
    """The number behind a pod's priority class."""

    resources = frozenset(("pods", "priorityclasses.scheduling.k8s.io"))

    def __init__(self, registry: Callable[[], Any]) -> None:
        super().__init__(registry)
        self._default = Derived(lambda: self._classes().revision, self._read_default)

    async def mutate(self, a: Attributes) -> None:
        if a.subresource or a.resource.plural != "pods" or a.operation not in ("CREATE", "UPDATE"):
            return
        spec: core_v1.PodSpec = a.obj.spec
        if a.operation == "UPDATE":
            _keep(spec, a.old.spec)
            return
        chosen = None
        if spec.priority_class_name:
            chosen = self._registry().lookup(
                "priorityclasses", "", spec.priority_class_name, "scheduling.k8s.io"
            )
            if chosen is None:
                reason = f"no PriorityClass with name {spec.priority_class_name} was found"
                raise errors.forbidden("pods", a.name, reason)
        else:
            chosen = self._default.get()
            spec.priority_class_name = chosen.metadata.name if chosen else ""
        value = chosen.value if chosen else 0
        if spec.priority is not None and spec.priority != value:
            raise errors.forbidden(
                "pods",
                a.name,
                f"the integer value of priority ({spec.priority}) "
                "must not be provided in pod spec; "
                f"priority admission controller computed {value} from the given PriorityClass name",
            )
        spec.priority = value
        policy = (chosen.preemption_policy if chosen else None) or "PreemptLowerPriority"
        if spec.preemption_policy is not None and spec.preemption_policy != policy:
            raise errors.forbidden(
                "pods",
                a.name,
                f"the string value of PreemptionPolicy ({spec.preemption_policy}) "
                "must not be provided "
                f"in pod spec; priority admission controller computed {policy} from the given "
                "PriorityClass name",
            )
        spec.preemption_policy = policy

    async def validate(self, a: Attributes) -> None:
        """One class at most is the default."""
        if (
            a.resource.plural != "priorityclasses"
            or a.operation not in ("CREATE", "UPDATE")
            or not a.obj.global_default
        ):
            return
        standing = self._default.get()
        if standing is not None and (a.operation == "CREATE" or standing.metadata.name != a.name):
            reason = (
                f"PriorityClass {standing.metadata.name} is already marked as default. "
                "Only one default can exist"
            )
            raise errors.forbidden(a.resource.group_resource, a.name, reason)

    def _classes(self) -> ResourceCache:
        cache: ResourceCache = self._registry().cache(_CLASSES)
        return cache

    def _read_default(self) -> PriorityClass | None:
        """The class of pods that name none: of several, as older clusters may have, the lowest."""
        classes = [decode(entry.data, PriorityClass) for entry in self._classes()]
        defaults = [c for c in classes if c.global_default]
        return min(defaults, key=lambda c: c.value) if defaults else None


def _keep(spec: core_v1.PodSpec, before: core_v1.PodSpec) -> None:
    """An update that leaves out what was decided on creation keeps it."""
    if spec.priority is None:
        spec.priority = before.priority
    if spec.preemption_policy is None:
        spec.preemption_policy = before.preemption_policy
