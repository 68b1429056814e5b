"""What becomes of what is written to Kueue's own resources: it obeys the rules, or is refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from tiphys.addons.kueue.rules import quotas, workloads
from tiphys.addons.kueue.types.quotas import ClusterQueue, Cohort, ResourceFlavor
from tiphys.addons.kueue.types.workloads import Workload
from tiphys.addons.reviews import Verdict, denied, object_of
from tiphys.api import admission_v1
from tiphys.api.base import Struct, from_builtins
from tiphys.machinery.fielderrors import FieldError


class _Rules(NamedTuple):
    """Of one kind: (new object, old object or None) → what is wrong."""

    kind: type[Struct]
    problems: Callable[[Any, Any], Sequence[FieldError]]


_RULES: Mapping[str, _Rules] = {
    "ClusterQueue": _Rules(ClusterQueue, quotas.of_cluster_queue),
    "Cohort": _Rules(Cohort, lambda new, old: quotas.of_cohort(new)),
    "ResourceFlavor": _Rules(ResourceFlavor, lambda new, old: quotas.of_flavor(new)),
    "Workload": _Rules(Workload, workloads.of_workload),
}


def review_resource(request: admission_v1.AdmissionRequest) -> Verdict:
    """Raises Refused, and msgspec.ValidationError for an object of another shape."""
    rules = _RULES.get(request.kind.kind)
    if rules is None:
        return Verdict()
    new = from_builtins(object_of(request), rules.kind)
    old = from_builtins(request.old_object, rules.kind) if request.old_object else None
    problems = rules.problems(new, old)
    if problems:
        raise denied(problems)
    return Verdict()
