"""Owner references as a matter of rights: who sets one decides when things go, and whether they
can."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tiphys.api.meta_v1 import OwnerReference
from tiphys.apiserver.access.asked import Asked
from tiphys.apiserver.access.authorization import Authorizer
from tiphys.apiserver.admission import Attributes, Base
from tiphys.machinery import errors


class OwnerReferencesPermissionEnforcement(Base):
    """Owners are changed by those who may delete the object; the deletion of an owner is held up by
    those who may change the owner's finalizers."""

    def __init__(self, registry: Callable[[], Any], authorizer: Callable[[], Authorizer]) -> None:
        self._registry = registry
        self._authorizer = authorizer

    async def validate(self, a: Attributes) -> None:
        if a.operation not in ("CREATE", "UPDATE"):
            return
        # Upstream's exception: nodes write the status of pods.
        if a.resource.group_resource == "pods" and a.subresource == "status":
            return
        owners = _owners(a.obj)
        old_owners = _owners(a.old)
        if owners == old_owners:
            return
        if a.operation == "UPDATE":
            row = a.resource
            asked = Asked("delete", row.group, row.plural, a.subresource, a.namespace, a.name)
            allowed, reason = self._authorizer().authorize(a.user, asked)
            if not allowed:
                raise self._refused(
                    a, f"cannot set an ownerRef on a resource you can't delete: {reason}, <nil>"
                )
        blocking = {owner.uid for owner in old_owners if owner.block_owner_deletion}
        for owner in owners:
            if owner.block_owner_deletion and owner.uid not in blocking:
                self._may_block(a, owner)

    def _may_block(self, a: Attributes, owner: OwnerReference) -> None:
        row = self._registry().served.of_kind(owner.api_version, owner.kind)
        if row is None:
            raise self._refused(
                a,
                "cannot set blockOwnerDeletion in this case because cannot find RESTMapping for "
                f"APIVersion {owner.api_version} Kind {owner.kind}: "
                f'no matches for kind "{owner.kind}"',
            )
        namespace = a.namespace if row.namespaced else ""
        asked = Asked("update", row.group, row.plural, "finalizers", namespace, owner.name)
        allowed, reason = self._authorizer().authorize(a.user, asked)
        if not allowed:
            raise self._refused(
                a,
                "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't "
                f"set finalizers on: {reason}, <nil>",
            )

    @staticmethod
    def _refused(a: Attributes, reason: str) -> errors.StatusError:
        name = a.name or a.obj.metadata.name
        return errors.forbidden(a.resource.group_resource, name, reason)


def _owners(obj: Any) -> list[OwnerReference]:
    meta = getattr(obj, "metadata", None)
    return list(getattr(meta, "owner_references", None) or ())
