"""Role bindings and cluster role bindings."""

from __future__ import annotations

from tiphys.api.rbac_v1 import ClusterRoleBinding, RoleBinding, Subject
from tiphys.apiserver.resources import checks
from tiphys.apiserver.resources.base import Strategy
from tiphys.apiserver.resources.columns import AGE, NAME, WIDE, Column
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError
from tiphys.machinery.names import path_segment_errors

_GROUP = "rbac.authorization.k8s.io"
_SUBJECT_KINDS = ("Group", "ServiceAccount", "User")

AnyBinding = RoleBinding | ClusterRoleBinding


def _subjects(binding: AnyBinding, kind: str) -> str:
    subjects = [subject for subject in binding.subjects if subject.kind == kind]
    if kind == "ServiceAccount":
        return ", ".join(f"{subject.namespace}/{subject.name}" for subject in subjects)
    return ", ".join(subject.name for subject in subjects)


class RoleBindingStrategy(Strategy[AnyBinding]):
    """Of both kinds. Names may be any path segment: the system's own have colons."""

    create_on_update = True
    columns = (
        NAME,
        Column("Role", lambda o: f"{o.role_ref.kind}/{o.role_ref.name}"),
        AGE,
        Column("Users", lambda o: _subjects(o, "User"), priority=WIDE),
        Column("Groups", lambda o: _subjects(o, "Group"), priority=WIDE),
        Column("ServiceAccounts", lambda o: _subjects(o, "ServiceAccount"), priority=WIDE),
    )
    name_errors = staticmethod(path_segment_errors)

    def default(self, obj: AnyBinding) -> None:
        obj.role_ref.api_group = obj.role_ref.api_group or _GROUP
        for subject in obj.subjects:
            if subject.kind in ("User", "Group"):
                subject.api_group = subject.api_group or _GROUP

    def validate(self, obj: AnyBinding) -> list[FieldError]:
        role = obj.role_ref
        namespaced = bool(obj.metadata.namespace)
        violations = checks.one_of(role.api_group, (_GROUP,), "roleRef.apiGroup")
        violations += checks.segment(role.name, "roleRef.name")
        # A role of one namespace cannot be granted everywhere.
        kinds = ("ClusterRole", "Role") if namespaced else ("ClusterRole",)
        if role.kind not in kinds:
            violations.append(errors.not_supported("roleRef.kind", role.kind, kinds))
        for index, subject in enumerate(obj.subjects):
            violations += _subject_errors(subject, namespaced, f"subjects[{index}]")
        return violations

    def validate_update(self, new: AnyBinding, old: AnyBinding) -> list[FieldError]:
        role = new.role_ref
        if role == old.role_ref:
            return []
        # The value is shown as upstream shows its own type, without JSON names.
        shown = {"APIGroup": role.api_group, "Kind": role.kind, "Name": role.name}
        return [errors.invalid_value("roleRef", shown, "cannot change roleRef")]


def _subject_errors(subject: Subject, namespaced: bool, path: str) -> list[FieldError]:
    violations = checks.required(subject.name, f"{path}.name")
    violations += checks.required(subject.kind, f"{path}.kind")
    violations += checks.one_of(subject.kind, _SUBJECT_KINDS, f"{path}.kind")
    if subject.kind == "ServiceAccount":
        violations += checks.subdomain(subject.name, f"{path}.name")
        violations += checks.one_of(subject.api_group, ("",), f"{path}.apiGroup")
        if not namespaced:
            violations += checks.required(subject.namespace, f"{path}.namespace")
    elif subject.kind in ("Group", "User"):
        violations += checks.one_of(subject.api_group, (_GROUP,), f"{path}.apiGroup")
    return violations
