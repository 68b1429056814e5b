"""A policy does not let its writer read what he is not allowed to: parameters are shown to
expressions, and these to a user who is refused.

Upstream's storage of policies and bindings asks this (`authz.go`); the sentences are its.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tiphys.apiserver.access.asked import Asked
from tiphys.apiserver.access.authorization import Authorizer
from tiphys.apiserver.admission import Attributes, Base
from tiphys.apiserver.http.request import MASTERS
from tiphys.machinery import errors

_GROUP = "admissionregistration.k8s.io"
_POLICIES = ("validatingadmissionpolicies", "mutatingadmissionpolicies")
_BINDINGS = {
    "validatingadmissionpolicybindings": "validatingadmissionpolicies",
    "mutatingadmissionpolicybindings": "mutatingadmissionpolicies",
}


class PolicyParameters(Base):
    resources = frozenset(f"{plural}.{_GROUP}" for plural in (*_POLICIES, *_BINDINGS))

    def __init__(self, registry: Callable[[], Any], authorizer: Callable[[], Authorizer]) -> None:
        self._registry = registry
        self._authorizer = authorizer

    async def validate(self, a: Attributes) -> None:
        if a.operation not in ("CREATE", "UPDATE") or a.obj is None or MASTERS in a.user.groups:
            return
        if a.resource.plural in _BINDINGS:
            self._check_binding(a)
        else:
            self._check_policy(a)

    def _check_policy(self, a: Attributes) -> None:
        kind = a.obj.spec.param_kind
        if kind is None or (a.old is not None and a.old.spec.param_kind == kind):
            return
        group, version, plural = self._read(kind)
        asked = Asked("get", group, plural, "", "*", "*", version=version)
        if self._authorizer().authorize(a.user, asked)[0]:
            return
        shown = f"kind={kind.kind}, apiVersion={kind.api_version}"
        reason = f'must have "get" permission on all objects of the referenced paramKind ({shown})'
        raise _refused(a, "spec.paramKind", reason)

    def _check_binding(self, a: Attributes) -> None:
        spec = a.obj.spec
        ref = spec.param_ref
        if ref is None:
            return
        before = a.old.spec if a.old is not None else None
        if before is not None and (before.param_ref, before.policy_name) == (ref, spec.policy_name):
            return
        plural = _BINDINGS[a.resource.plural]
        policy = self._registry().lookup(plural, "", spec.policy_name, _GROUP)
        kind = policy.spec.param_kind if policy is not None else None
        # While the kind is unknown, it may be any.
        group, version, resource = self._read(kind) if kind is not None else ("*", "*", "*")
        verb = "get" if ref.name else "list"
        asked = Asked(verb, group, resource, "", ref.namespace, ref.name, version=version)
        if self._authorizer().authorize(a.user, asked)[0]:
            return
        if policy is None:
            reason = f'does not have "{verb}" permission for all groups, versions and resources'
            start = (
                f"unable to get policy {spec.policy_name} to determine minimum required "
                f"permissions and "
            )
            raise _refused(a, "spec.paramRef", reason, start)
        reason = f'does not have "{verb}" permission on the object referenced by paramRef'
        raise _refused(a, "spec.paramRef", reason)

    def _read(self, kind: Any) -> tuple[str, str, str]:
        """(group, version, resource) that a kind is read as: any resource when there is no such
        kind."""
        group, _, version = kind.api_version.rpartition("/")
        resource = self._registry().served.of_kind(kind.api_version, kind.kind)
        return group, version, resource.plural if resource is not None else "*"


def _refused(a: Attributes, path: str, reason: str, start: str = "") -> errors.StatusError:
    violation = errors.forbidden_field(path, f"{start}user {a.user.name} {reason}")
    return errors.invalid(a.resource.kind, _GROUP, a.name or a.obj.metadata.name, [violation])
