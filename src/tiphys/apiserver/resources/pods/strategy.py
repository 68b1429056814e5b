"""The life of a pod: its defaults, what each path may change, how long a deleted one stays."""

from __future__ import annotations

import time
from collections.abc import Iterator

from tiphys.api.core_v1 import Pod, PodCondition, PodStatus
from tiphys.apiserver.resources.base import Strategy
from tiphys.apiserver.resources.pods.binding import BIND
from tiphys.apiserver.resources.pods.claimstatuses import claim_status_errors
from tiphys.apiserver.resources.pods.columns import COLUMNS
from tiphys.apiserver.resources.pods.ephemeral import with_ephemeral_containers
from tiphys.apiserver.resources.pods.eviction import EVICT
from tiphys.apiserver.resources.pods.mirror import mirror_errors, mirror_update_errors
from tiphys.apiserver.resources.pods.quality import qos_class
from tiphys.apiserver.resources.pods.resize import resize_errors, resized
from tiphys.apiserver.resources.pods.updates import update_errors
from tiphys.apiserver.resources.podspec.defaults import default_pod_spec
from tiphys.apiserver.resources.podspec.labelkeys import merge_label_keys
from tiphys.apiserver.resources.podspec.rules import validate_pod_spec
from tiphys.apiserver.resources.podspec.warnings import hostname_warnings, pod_warnings
from tiphys.apiserver.resources.subresources import Connection, Part
from tiphys.machinery import errors, timestamps
from tiphys.machinery.errors import FieldError
from tiphys.machinery.finished import pod_finished
from tiphys.store.cache import Selectable

_DEFAULT_GRACE = 30  # seconds
_LONGEST_GRACE = (1 << 31) - 1


class PodStrategy(Strategy[Pod]):
    columns = COLUMNS
    fields = (
        Selectable("spec.nodeName"),
        Selectable("spec.restartPolicy"),
        Selectable("spec.schedulerName"),
        Selectable("spec.serviceAccountName"),
        Selectable("spec.hostNetwork", "false"),
        Selectable("status.phase"),
        Selectable("status.podIP"),
        Selectable("status.nominatedNodeName"),
    )
    generation = True
    returns_deleted = True
    subresources = {
        "attach": Connection.STREAM,
        "binding": BIND,
        "ephemeralcontainers": Part(with_ephemeral_containers),
        "eviction": EVICT,
        "exec": Connection.STREAM,
        "log": Connection.LOG,
        "portforward": Connection.STREAM,
        "proxy": Connection.PROXY,
        "resize": Part(resized),
    }

    def default(self, obj: Pod) -> None:
        default_pod_spec(obj.spec)
        grace = obj.spec.termination_grace_period_seconds
        if grace is not None and grace < 0:
            obj.spec.termination_grace_period_seconds = 1  # as upstream reads and writes pods

    def prepare_for_create(self, obj: Pod) -> None:
        obj.status = PodStatus(phase="Pending", qos_class=qos_class(obj.spec))
        if obj.spec.scheduling_gates:
            obj.status.conditions = [_gated()]
        merge_label_keys(obj.spec, obj.metadata.labels)

    def prepare_for_status(self, new: Pod, old: Pod) -> None:
        new.spec = old.spec
        new.metadata.owner_references = old.metadata.owner_references
        new.status.qos_class = old.status.qos_class or new.status.qos_class
        if not old.status.node_allocatable_resource_claim_statuses:
            # The gate of what writes it is off (upstream's DRANodeAllocatableResources).
            new.status.node_allocatable_resource_claim_statuses = []
        _keep_observed_generations(new.status, old.status)

    def validate(self, obj: Pod) -> list[FieldError]:
        violations = mirror_errors(obj) + validate_pod_spec(obj.spec, "spec")
        if obj.spec.ephemeral_containers:
            detail = "cannot be set on create"
            violations.append(errors.forbidden_field("spec.ephemeralContainers", detail))
        return violations

    def validate_update(self, new: Pod, old: Pod) -> list[FieldError]:
        return update_errors(new.spec, old.spec)

    def validate_change(self, new: Pod, old: Pod) -> list[FieldError]:
        violations = mirror_update_errors(new, old)
        if new.spec == old.spec:  # it was valid: most updates of pods are of labels, or a status
            return violations
        violations += validate_pod_spec(new.spec, "spec")
        return violations + self.validate_update(new, old)

    def validate_part(self, new: Pod, old: Pod, subresource: str) -> list[FieldError]:
        violations = mirror_update_errors(new, old)
        violations += validate_pod_spec(new.spec, "spec")
        if subresource == "resize":
            violations += resize_errors(new, old, qos_class(new.spec))
        return violations

    def validate_status(self, new: Pod, old: Pod) -> list[FieldError]:
        return mirror_update_errors(new, old) + claim_status_errors(new)

    def warnings(self, new: Pod, old: Pod | None) -> Iterator[str]:
        if old is None:
            yield from hostname_warnings(new.metadata.name, "the Pod's hostname")
            yield from pod_warnings(new.metadata.annotations, new.spec, "metadata", "spec")

    def grace(self, obj: Pod, requested: int | None) -> int:
        """A pod that no node runs, or that has ended, goes at once; one that is being deleted
        may only go sooner."""
        meta = obj.metadata
        if not obj.spec.node_name or pod_finished(obj):
            seconds = 0
        elif requested is not None:
            seconds = _bounded(requested)
        else:
            seconds = _bounded(obj.spec.termination_grace_period_seconds)
        if meta.deletion_timestamp and meta.deletion_grace_period_seconds is not None:
            return min(seconds, meta.deletion_grace_period_seconds)
        return seconds


def _bounded(seconds: int | None) -> int:
    """A grace period as upstream reads it: negative ones are a second."""
    if seconds is None:
        return _DEFAULT_GRACE
    return 1 if seconds < 0 else min(seconds, _LONGEST_GRACE)


def _gated() -> PodCondition:
    return PodCondition(
        type="PodScheduled",
        status="False",
        reason="SchedulingGated",
        message="Scheduling is blocked due to non-empty scheduling gates",
        last_transition_time=timestamps.rfc3339(time.time()),
    )


def _keep_observed_generations(new: PodStatus, old: PodStatus) -> None:
    """A writer that leaves `observedGeneration` out does not know the field: what was observed
    stays.

    Conditions of one type are matched in their order, since there may be several.
    """
    new.observed_generation = new.observed_generation or old.observed_generation
    standing: dict[str, list[int]] = {}
    for condition in old.conditions:
        standing.setdefault(condition.type, []).append(condition.observed_generation)
    for condition in new.conditions:
        known = standing.get(condition.type)
        before = known.pop(0) if known else 0
        condition.observed_generation = condition.observed_generation or before
