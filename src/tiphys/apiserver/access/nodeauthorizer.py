"""What a node may do: read what the pods bound to it name, and write its own objects. Its certificate says which it is.

What admission has to see an object for (a pod's status, a token's binding) is allowed here and judged by NodeRestriction.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from tiphys.api import core_v1, rbac_v1, storage_v1
from tiphys.api.base import decode
from tiphys.api.catalog import BY_PATH
from tiphys.api.resource_v1 import ResourceSlice
from tiphys.apiserver.access.authorization import Asked, rule_allows
from tiphys.apiserver.http.request import LONG_SELECTOR, User
from tiphys.apiserver.resources.pods.mirror import MIRROR
from tiphys.machinery.podrefs import References, references
from tiphys.machinery.selectors import SelectorError, parse_fields
from tiphys.store.cache import Filter
from tiphys.store.store import Store

GROUP, PREFIX = "system:nodes", "system:node:"
LEASES = "kube-node-lease"
_PODS, _VOLUMES = BY_PATH["", "v1", "pods"], BY_PATH["", "v1", "persistentvolumes"]
_SLICES = BY_PATH["resource.k8s.io", "v1", "resourceslices"]
_ATTACHMENTS = BY_PATH["storage.k8s.io", "v1", "volumeattachments"]
_READ = ("get", "list", "watch")
_WRITE = ("get", "create", "update", "patch", "delete")
# Which verbs of which subresources of pods are left to NodeRestriction.
_OF_PODS = {"": ("create", "delete"), "status": ("update", "patch"), "eviction": ("create",)}


def node_of(user: User) -> str:
    """The node that a user is, empty for anybody else."""
    return user.name[len(PREFIX) :] if GROUP in user.groups and user.name.startswith(PREFIX) else ""


class NodeAuthorizer:
    """`rules` are those of the role `system:node`, for what no object of a pod or of the node itself is about."""

    def __init__(self, store: Store, rules: Iterable[rbac_v1.PolicyRule]) -> None:
        self._store = store
        self._rules = [
            narrowed
            for rule in rules
            if (
                narrowed := _without(
                    rule,
                    {
                        "nodes",
                        "pods",
                        "secrets",
                        "configmaps",
                        "persistentvolumeclaims",
                        "persistentvolumes",
                        "serviceaccounts",
                        "leases",
                        "csinodes",
                        "volumeattachments",
                        "resourceclaims",
                        "resourceslices",
                    },
                )
            ).resources
        ]

    def allows(self, user: User, asked: Asked) -> bool:
        node = node_of(user)
        if not node or asked.path:
            return False
        match asked.group, asked.resource:
            case "", "secrets" | "configmaps":
                return asked.verb in _READ and not asked.subresource and self._names(node, asked)
            case "", "persistentvolumeclaims":
                verbs = {"": ("get",), "status": ("update", "patch")}.get(asked.subresource, ())
                return asked.verb in verbs and self._names(node, asked)
            case "", "persistentvolumes":
                return (
                    asked.verb == "get"
                    and not asked.subresource
                    and self._uses_volume(node, asked.name)
                )
            case "", "serviceaccounts":
                allowed = (asked.verb, asked.subresource) in (("create", "token"), ("get", ""))
                return allowed and self._names(node, asked)
            case "", "nodes":
                return self._node(node, asked)
            case "", "pods":
                return self._pod(node, asked)
            case "coordination.k8s.io", "leases":
                mine = asked.namespace == LEASES and (asked.name == node or asked.verb == "create")
                return mine and asked.verb in _WRITE and not asked.subresource
            case "storage.k8s.io", "csinodes":
                return (
                    asked.verb in _WRITE
                    and (asked.name == node or asked.verb == "create")
                    and not asked.subresource
                )
            case "storage.k8s.io", "volumeattachments":
                return (
                    asked.verb == "get"
                    and not asked.subresource
                    and self._attached(node, asked.name)
                )
            case "resource.k8s.io", "resourceclaims":
                return asked.verb == "get" and not asked.subresource and self._names(node, asked)
            case "resource.k8s.io", "resourceslices":
                return self._slices(node, asked)
        return any(rule_allows(rule, asked) for rule in self._rules)

    @staticmethod
    def _node(node: str, asked: Asked) -> bool:
        if asked.subresource:
            return (
                asked.subresource == "status"
                and asked.verb in ("update", "patch")
                and asked.name == node
            )
        return asked.verb == "create" or (
            asked.verb in (*_READ, "update", "patch") and asked.name == node
        )

    def _slices(self, node: str, asked: Asked) -> bool:
        """Slices of the node itself; which one a new one is of is left to NodeRestriction."""
        if asked.subresource:
            return False
        if asked.verb in ("list", "watch", "deletecollection"):
            return _selects(asked.fields, "spec.nodeName", node)
        if asked.verb == "create":
            return True
        entry = self._store.cache(_SLICES.prefix).get(_SLICES.key("", asked.name))
        return (
            asked.verb in _WRITE
            and entry is not None
            and decode(entry.data, ResourceSlice).spec.node_name == node
        )

    def _pod(self, node: str, asked: Asked) -> bool:
        if asked.verb in _OF_PODS.get(asked.subresource, ()):
            return True
        if asked.subresource or asked.verb not in _READ:
            return False
        if asked.name and self._is_mine(node, asked):
            return True
        return asked.verb != "get" and _selects(asked.fields, "spec.nodeName", node)

    # --- the graph: pods of the node, and what they name ---

    def _pods(self, node: str, namespace: str) -> list[bytes]:
        view = Filter(f"{_PODS.prefix}{namespace}/", fields=parse_fields(f"spec.nodeName={node}"))
        return [entry.data for entry in self._store.cache(_PODS.prefix).select(view)]

    def _names(self, node: str, asked: Asked) -> bool:
        """Whether a pod of the node names the object; its bytes are looked through before it is decoded."""
        if not asked.name or not asked.namespace:
            return False
        quoted, ephemeral = (
            msgspec.json.encode(asked.name),
            asked.resource == "persistentvolumeclaims",
        )
        return any(
            asked.name in _named_by(decode(data, core_v1.Pod)).get(asked.resource, ())
            for data in self._pods(node, asked.namespace)
            if quoted in data or ephemeral
        )

    def _is_mine(self, node: str, asked: Asked) -> bool:
        entry = self._store.cache(_PODS.prefix).get(_PODS.key(asked.namespace, asked.name))
        return entry is not None and decode(entry.data, core_v1.Pod).spec.node_name == node

    def _uses_volume(self, node: str, name: str) -> bool:
        volume = self._store.cache(_VOLUMES.prefix).get(_VOLUMES.key("", name))
        claim = (
            decode(volume.data, core_v1.PersistentVolume).spec.claim_ref
            if volume is not None
            else None
        )
        if claim is None:
            return False
        return self._names(
            node, Asked("get", "", "persistentvolumeclaims", "", claim.namespace, claim.name)
        )

    def _attached(self, node: str, name: str) -> bool:
        entry = self._store.cache(_ATTACHMENTS.prefix).get(_ATTACHMENTS.key("", name))
        return (
            entry is not None
            and decode(entry.data, storage_v1.VolumeAttachment).spec.node_name == node
        )


def _named_by(pod: core_v1.Pod) -> References:
    """What a node may read for a pod's sake: for a mirror pod, which the node itself writes, nothing."""
    return {} if MIRROR in pod.metadata.annotations else references(pod)


def _selects(fields: str, key: str, value: str) -> bool:
    try:
        return 0 < len(fields) <= LONG_SELECTOR and parse_fields(fields).exact(key) == value
    except SelectorError:
        return False


def _without(rule: rbac_v1.PolicyRule, plurals: set[str]) -> rbac_v1.PolicyRule:
    return msgspec.structs.replace(
        rule, resources=[name for name in rule.resources if name.partition("/")[0] not in plurals]
    )
