"""NamespaceLifecycle: namespaces that are missing, going away, or must stay."""

from __future__ import annotations

from tiphys.api.meta_v1 import StatusCause
from tiphys.apiserver.admission import Asking, Attributes
from tiphys.machinery import errors
from tiphys.machinery.errors import StatusError

IMMORTAL = frozenset(("default", "kube-system", "kube-public"))


class NamespaceLifecycle(Asking):
    """Nothing is created in a namespace that is missing or going away; the system's namespaces
    stay."""

    async def mutate(self, a: Attributes) -> None:
        if a.operation != "CREATE" or not a.resource.namespaced or not a.namespace:
            return
        namespace = self._registry().lookup("namespaces", "", a.namespace)
        if namespace is None:
            raise errors.not_found("namespaces", a.namespace)
        is_review = a.resource.plural == "localsubjectaccessreviews"  # nothing is stored
        if namespace.metadata.deletion_timestamp and not is_review:
            raise _terminating(a)

    async def validate(self, a: Attributes) -> None:
        if a.operation == "DELETE" and a.resource.plural == "namespaces" and a.name in IMMORTAL:
            raise errors.forbidden("namespaces", a.name, "this namespace may not be deleted")


def _terminating(a: Attributes) -> StatusError:
    reason = (
        f"unable to create new content in namespace {a.namespace} because it is being terminated"
    )
    error = errors.forbidden(a.resource.group_resource, a.name, reason)
    cause = StatusCause(
        reason="NamespaceTerminating",
        message=f"namespace {a.namespace} is being terminated",
        field="metadata.namespace",
    )
    assert error.status.details is not None
    error.status.details.causes.append(cause)
    return error
