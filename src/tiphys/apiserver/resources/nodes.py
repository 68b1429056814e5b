"""Nodes."""

from __future__ import annotations

from tiphys.api.core_v1 import Node, Taint
from tiphys.apiserver.resources import checks
from tiphys.apiserver.resources.base import Strategy
from tiphys.apiserver.resources.columns import AGE, NAME, WIDE, Column, joined
from tiphys.apiserver.resources.subresources import Connection
from tiphys.machinery import conditions, errors
from tiphys.machinery.errors import FieldError
from tiphys.machinery.names import label_value_errors
from tiphys.store.cache import Selectable

_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_ROLE_PREFIX = "node-role.kubernetes.io/"
_ROLE_LABEL = "kubernetes.io/role"
_FIXED = 'node updates may not change {} except from "" to valid'
_ONE_OF_EACH = "may specify no more than one CIDR for each IP family"


def _status(node: Node) -> str:
    ready = conditions.find(node.status.conditions, "Ready")
    status = "Unknown"
    if ready is not None:
        status = "Ready" if ready.status == "True" else "NotReady"
    return f"{status},SchedulingDisabled" if node.spec.unschedulable else status


def _roles(node: Node) -> str:
    labels = node.metadata.labels
    roles = {key.removeprefix(_ROLE_PREFIX) for key in labels if key.startswith(_ROLE_PREFIX)}
    roles.add(labels.get(_ROLE_LABEL, ""))
    return joined(sorted(roles - {""}))


def _address(node: Node, kind: str) -> str:
    return next((a.address for a in node.status.addresses if a.type == kind), "<none>")


def _or_unknown(text: str) -> str:
    return text or "<unknown>"


class NodeStrategy(Strategy[Node]):
    columns = (
        NAME,
        Column("Status", _status),
        Column("Roles", _roles),
        AGE,
        Column("Version", lambda o: o.status.node_info.kubelet_version),
        Column("Internal-IP", lambda o: _address(o, "InternalIP"), priority=WIDE),
        Column("External-IP", lambda o: _address(o, "ExternalIP"), priority=WIDE),
        Column("OS-Image", lambda o: _or_unknown(o.status.node_info.os_image), priority=WIDE),
        Column(
            "Kernel-Version",
            lambda o: _or_unknown(o.status.node_info.kernel_version),
            priority=WIDE,
        ),
        Column(
            "Container-Runtime",
            lambda o: _or_unknown(o.status.node_info.container_runtime_version),
            priority=WIDE,
        ),
    )
    fields = (Selectable("spec.unschedulable", "false"),)
    subresources = {"proxy": Connection.PROXY}

    def prepare_for_create(self, obj: Node) -> None:
        """A node registers with its status."""
        obj.spec.config_source = None  # of a feature that upstream removed

    def default(self, obj: Node) -> None:
        obj.status.allocatable = obj.status.allocatable or dict(obj.status.capacity)
        spec = obj.spec
        # Two names of one thing.
        if spec.pod_cidr and not spec.pod_cidrs:
            spec.pod_cidrs = [spec.pod_cidr]
        elif spec.pod_cidrs and not spec.pod_cidr:
            spec.pod_cidr = spec.pod_cidrs[0]

    def validate(self, obj: Node) -> list[FieldError]:
        violations = []
        for index, taint in enumerate(obj.spec.taints):
            violations += _taint(taint, f"metadata.taints[{index}]")
        violations += _pod_ranges(obj.spec.pod_cidrs)
        violations += checks.amounts(obj.status.capacity, "status.capacity")
        return violations + checks.amounts(obj.status.allocatable, "status.allocatable")

    def validate_update(self, new: Node, old: Node) -> list[FieldError]:
        violations = []
        ranges = old.spec.pod_cidrs
        if ranges and ranges != new.spec.pod_cidrs:
            violations.append(errors.forbidden_field("spec.podCIDRs", _FIXED.format("podCIDR")))
        provider = old.spec.provider_id
        if provider and provider != new.spec.provider_id:
            explanation = _FIXED.format("providerID")
            violations.append(errors.forbidden_field("spec.providerID", explanation))
        return violations


def _pod_ranges(ranges: list[str]) -> list[FieldError]:
    """One range, or one of each family."""
    violations = []
    for index, block in enumerate(ranges):
        violations += checks.network(block, f"spec.podCIDRs[{index}]")
    families = [":" in block for block in ranges]
    if len(set(families)) < len(families):
        violations.append(errors.invalid_value("spec.podCIDRs", ranges, _ONE_OF_EACH))
    return violations


def _taint(taint: Taint, path: str) -> list[FieldError]:
    violations = checks.required(taint.key, f"{path}.key")
    if taint.effect not in _EFFECTS:
        violations.append(errors.not_supported(f"{path}.effect", taint.effect, _EFFECTS))
    violations += checks.qualified(taint.key, f"{path}.key")
    return violations + checks.named(taint.value, label_value_errors, f"{path}.value")
