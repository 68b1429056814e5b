"""The node authorizer: a node reads what the pods bound to it name, and writes its own objects.

The common name of its certificate is the node's. What only the object can decide (a pod's
status, a token's binding) is allowed here and checked by the admission plugin NodeRestriction. The
rules are those of upstream's plugin/pkg/auth/authorizer/node; where upstream keeps a graph, the
watch caches are asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from tiphys.api import core_v1, rbac_v1, storage_v1
from tiphys.api.base import decode
from tiphys.api.catalog import BY_PATH
from tiphys.api.resource_v1 import ResourceSlice
from tiphys.apiserver.access.asked import Asked
from tiphys.apiserver.access.rbacrules import rule_allows
from tiphys.apiserver.http.request import LONG_SELECTOR, User
from tiphys.machinery.podrefs import MIRROR, References, SecretName, references, volume_secrets
from tiphys.machinery.selectors import SelectorError, parse_fields
from tiphys.store.cache import Filter
from tiphys.store.store import Store

GROUP = "system:nodes"
PREFIX = "system:node:"
LEASES = "kube-node-lease"
_CLAIMS = BY_PATH["", "v1", "persistentvolumeclaims"]
_PODS = BY_PATH["", "v1", "pods"]
_VOLUMES = BY_PATH["", "v1", "persistentvolumes"]
_SLICES = BY_PATH["resource.k8s.io", "v1", "resourceslices"]
_ATTACHMENTS = BY_PATH["storage.k8s.io", "v1", "volumeattachments"]
_READ = ("get", "list", "watch")
_WRITE = ("get", "create", "update", "patch", "delete")
Verbs = dict[str, tuple[str, ...]]  # by subresource
# What of these a node may do is left to NodeRestriction.
_OF_PODS: Verbs = {"": ("create", "delete"), "status": ("update", "patch"), "eviction": ("create",)}
# These have to be named by a pod of the node.
_OF_CLAIMS: Verbs = {"": ("get",), "status": ("update", "patch")}
_OF_SERVICE_ACCOUNTS: Verbs = {"": ("get",), "token": ("create",)}
# Resources that this module decides about; the role's rules do not count for them.
_DECIDED_HERE = frozenset(
    (
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
    )
)


def node_of(user: User) -> str:
    """The node's name of a node user, empty for any other."""
    if GROUP in user.groups and user.name.startswith(PREFIX):
        return user.name.removeprefix(PREFIX)
    return ""


class NodeAuthorizer:
    """Decides what nodes may do. `rules` are those of the role `system:node`: they hold for every
    resource that is decided neither by a pod nor by the node's own name."""

    def __init__(self, store: Store, rules: Iterable[rbac_v1.PolicyRule]) -> None:
        self._store = store
        narrowed = [_without(rule, _DECIDED_HERE) for rule in rules]
        self._rules = [rule for rule in narrowed if rule.resources]

    def allows(self, user: User, asked: Asked) -> bool:
        """Whether `user` is a node that may do what is asked."""
        node = node_of(user)
        if not node or asked.path:
            return False
        match asked.group, asked.resource:
            case "", "secrets":
                return self._reads_secret(node, asked)
            case "", "configmaps":
                return _is_read(asked) and self._names(node, asked)
            case "", "persistentvolumeclaims":
                return _is_one_of(asked, _OF_CLAIMS) and self._names(node, asked)
            case "", "persistentvolumes":
                return _is_get(asked) and self._uses_volume(node, asked.name)
            case "", "serviceaccounts":
                return _is_one_of(asked, _OF_SERVICE_ACCOUNTS) and self._names(node, asked)
            case "", "nodes":
                return _is_own_node(node, asked)
            case "", "pods":
                return self._pod(node, asked)
            case "coordination.k8s.io", "leases":
                return asked.namespace == LEASES and _writes_own(node, asked)
            case "storage.k8s.io", "csinodes":
                return _writes_own(node, asked)
            case "storage.k8s.io", "volumeattachments":
                return _is_get(asked) and self._is_attached(node, asked.name)
            case "resource.k8s.io", "resourceclaims":
                return _is_get(asked) and self._names(node, asked)
            case "resource.k8s.io", "resourceslices":
                return self._slice(node, asked)
        return any(rule_allows(rule, asked) for rule in self._rules)

    def _reads_secret(self, node: str, asked: Asked) -> bool:
        if not _is_read(asked) or not asked.name or not asked.namespace:
            return False
        return self._names(node, asked) or self._volumes_name(node, asked)

    def _slice(self, node: str, asked: Asked) -> bool:
        """Slices of the node itself; which node a new one is of is left to NodeRestriction."""
        if asked.subresource:
            return False
        if asked.verb in ("list", "watch", "deletecollection"):
            return _selects(asked.fields, "spec.nodeName", node)
        if asked.verb == "create":
            return True
        if asked.verb not in _WRITE:
            return False
        entry = self._store.cache(_SLICES.prefix).get(_SLICES.key("", asked.name))
        return entry is not None and decode(entry.data, ResourceSlice).spec.node_name == node

    def _pod(self, node: str, asked: Asked) -> bool:
        if asked.verb in _OF_PODS.get(asked.subresource, ()):
            return True
        if not _is_read(asked):
            return False
        if asked.name and self._is_bound_here(node, asked):
            return True
        return asked.verb != "get" and _selects(asked.fields, "spec.nodeName", node)

    # --- the graph: pods of the node, and what they name ---

    def _pods(self, node: str, namespace: str = "") -> Iterator[bytes]:
        """The pods bound to a node, of one namespace or of all, as they are stored."""
        prefix = f"{_PODS.prefix}{namespace}/" if namespace else _PODS.prefix
        view = Filter(prefix, fields=parse_fields(f"spec.nodeName={node}"))
        for entry in self._store.cache(_PODS.prefix).select(view):
            yield entry.data

    def _names(self, node: str, asked: Asked) -> bool:
        """Whether a pod of the node names the object. Pods whose bytes lack the name are not
        decoded."""
        if not asked.name or not asked.namespace:
            return False
        quoted = msgspec.json.encode(asked.name)
        # The claim of an ephemeral volume is named <pod>-<volume>, which the pod's bytes do not
        # contain.
        derived = asked.resource == "persistentvolumeclaims"
        for data in self._pods(node, asked.namespace):
            if quoted not in data and not derived:
                continue
            if asked.name in _named_by(decode(data, core_v1.Pod)).get(asked.resource, ()):
                return True
        return False

    def _volumes_name(self, node: str, asked: Asked) -> bool:
        """Whether a volume of a pod of the node names the secret: pod → claim → volume → secret.

        The search starts at the node's pods, which are few: a secret may be named by every volume
        of the cluster.
        """
        secret = SecretName(asked.namespace, asked.name)
        quoted = msgspec.json.encode(asked.name)
        for claim in self._claims(node):
            data = self._volume_of(claim)
            if data is None or quoted not in data:
                continue
            volume = decode(data, core_v1.PersistentVolume)
            # A claim names the volume that it wants: only a volume that names the claim, too, is
            # its own.
            ref = volume.spec.claim_ref
            if ref is None or (ref.namespace, ref.name) != claim:
                continue
            if secret in volume_secrets(volume):
                return True
        return False

    def _claims(self, node: str) -> set[tuple[str, str]]:
        """(namespace, name) of the claims that pods of the node name."""
        claims = set[tuple[str, str]]()
        for data in self._pods(node):
            if b'"persistentVolumeClaim"' not in data and b'"ephemeral"' not in data:
                continue
            pod = decode(data, core_v1.Pod)
            for name in _named_by(pod).get("persistentvolumeclaims", ()):
                claims.add((pod.metadata.namespace, name))
        return claims

    def _volume_of(self, claim: tuple[str, str]) -> bytes | None:
        """The volume that the stored claim names."""
        entry = self._store.cache(_CLAIMS.prefix).get(_CLAIMS.key(*claim))
        if entry is None:
            return None
        name = decode(entry.data, core_v1.PersistentVolumeClaim).spec.volume_name
        volume = self._store.cache(_VOLUMES.prefix).get(_VOLUMES.key("", name)) if name else None
        return volume.data if volume is not None else None

    def _uses_volume(self, node: str, name: str) -> bool:
        entry = self._store.cache(_VOLUMES.prefix).get(_VOLUMES.key("", name))
        if entry is None:
            return False
        claim = decode(entry.data, core_v1.PersistentVolume).spec.claim_ref
        if claim is None:
            return False
        asked = Asked("get", "", "persistentvolumeclaims", "", claim.namespace, claim.name)
        return self._names(node, asked)

    def _is_bound_here(self, node: str, asked: Asked) -> bool:
        entry = self._store.cache(_PODS.prefix).get(_PODS.key(asked.namespace, asked.name))
        return entry is not None and decode(entry.data, core_v1.Pod).spec.node_name == node

    def _is_attached(self, node: str, name: str) -> bool:
        entry = self._store.cache(_ATTACHMENTS.prefix).get(_ATTACHMENTS.key("", name))
        if entry is None:
            return False
        return decode(entry.data, storage_v1.VolumeAttachment).spec.node_name == node


def _is_get(asked: Asked) -> bool:
    return asked.verb == "get" and not asked.subresource


def _is_read(asked: Asked) -> bool:
    return asked.verb in _READ and not asked.subresource


def _is_one_of(asked: Asked, verbs: Verbs) -> bool:
    """Whether the verb is among those of the subresource."""
    return asked.verb in verbs.get(asked.subresource, ())


def _writes_own(node: str, asked: Asked) -> bool:
    """Whether the object is called after the node. A new one's name is not known before its body is
    read."""
    if asked.subresource or asked.verb not in _WRITE:
        return False
    return asked.verb == "create" or asked.name == node


def _is_own_node(node: str, asked: Asked) -> bool:
    if asked.subresource == "status":
        return asked.verb in ("update", "patch") and asked.name == node
    if asked.subresource:
        return False
    if asked.verb == "create":
        return True
    return asked.verb in (*_READ, "update", "patch") and asked.name == node


def _named_by(pod: core_v1.Pod) -> References:
    """What a node may read because of a pod: nothing because of a mirror pod, which the node itself
    writes."""
    return {} if MIRROR in pod.metadata.annotations else references(pod)


def _selects(fields: str, key: str, value: str) -> bool:
    """Whether a field selector allows only one value of a field."""
    if not fields or len(fields) > LONG_SELECTOR:
        return False
    try:
        return parse_fields(fields).exact(key) == value
    except SelectorError:
        return False


def _without(rule: rbac_v1.PolicyRule, plurals: frozenset[str]) -> rbac_v1.PolicyRule:
    """A rule without some resources and their subresources."""
    kept = [name for name in rule.resources if name.partition("/")[0] not in plurals]
    return msgspec.structs.replace(rule, resources=kept)
