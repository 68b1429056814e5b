"""Namespaces."""

from __future__ import annotations

import copy

from tiphys.api.core_v1 import Namespace, NamespaceStatus
from tiphys.apiserver.resources.base import Strategy
from tiphys.apiserver.resources.columns import AGE, NAME, Column
from tiphys.apiserver.resources.subresources import Part
from tiphys.machinery.names import dns_label_errors
from tiphys.store.cache import Selectable

_FINALIZER = "kubernetes"  # the namespace controller takes it off once everything inside is gone


def finalized(new: Namespace, old: Namespace) -> Namespace:
    """`old` with the finalizers of `new`'s spec, which no other path may change."""
    changed = copy.deepcopy(old)
    changed.spec.finalizers = new.spec.finalizers
    changed.metadata.resource_version = new.metadata.resource_version
    return changed


class NamespaceStrategy(Strategy[Namespace]):
    columns = (NAME, Column("Status", lambda o: o.status.phase), AGE)
    fields = (Selectable("status.phase"),)
    name_errors = staticmethod(dns_label_errors)
    subresources = {"finalize": Part(finalized)}

    def default(self, obj: Namespace) -> None:
        obj.metadata.labels["kubernetes.io/metadata.name"] = obj.metadata.name

    def prepare_for_create(self, obj: Namespace) -> None:
        obj.status = NamespaceStatus(phase="Active")
        if _FINALIZER not in obj.spec.finalizers:
            obj.spec.finalizers.append(_FINALIZER)

    def prepare_for_update(self, new: Namespace, old: Namespace) -> None:
        new.status = old.status
        new.spec.finalizers = old.spec.finalizers

    def held(self, obj: Namespace) -> bool:
        return bool(obj.spec.finalizers)

    def mark_deleted(self, obj: Namespace) -> None:
        obj.status.phase = "Terminating"
