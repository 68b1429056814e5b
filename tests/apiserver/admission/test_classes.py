"""What pods, ingresses and claims get from their classes, and who may set owners."""

from __future__ import annotations

from typing import Any

import pytest

from tests.apiserver.access.builders import stored
from tests.apiserver.admission.builders import Rights, attributes, refusal, registry_of
from tests.builders import config_map, pod
from tiphys.api.base import from_builtins
from tiphys.api.core_v1 import PersistentVolumeClaim, Toleration
from tiphys.api.meta_v1 import OwnerReference
from tiphys.api.networking_v1 import Ingress, IngressClass
from tiphys.api.node_v1 import RuntimeClass as Runtime
from tiphys.api.storage_v1 import StorageClass
from tiphys.apiserver.admission.classes import (
    DefaultIngressClass,
    DefaultStorageClass,
    PersistentVolumeClaimResize,
    RuntimeClass,
)
from tiphys.apiserver.admission.owners import OwnerReferencesPermissionEnforcement

# --- runtime classes ---

TAINTED = {"key": "a", "operator": "Exists"}
BARE = {"handler": "h"}
HEAVY = {**BARE, "overhead": {"podFixed": {"cpu": "1"}}}
PLACED = {**BARE, "scheduling": {"nodeSelector": {"a": "b"}, "tolerations": [TAINTED]}}
NO_OVERHEAD = "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"


def runtime(**parts: Any) -> Runtime:
    return from_builtins({"metadata": {"name": "r"}, **parts}, Runtime)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("body", "spec", "after", "refused"),
    [
        (BARE, {}, ({}, {}, 0), ""),
        (BARE, {"overhead": {"cpu": "1"}}, None, NO_OVERHEAD),
        (BARE, {"runtimeClassName": "r"}, ({}, {}, 0), ""),
        (BARE, {"runtimeClassName": "r", "overhead": {"cpu": "1"}}, None, NO_OVERHEAD),
        (BARE, {"runtimeClassName": "s"}, None, 'pod rejected: RuntimeClass "s" not found'),
        (HEAVY, {"runtimeClassName": "r"}, ({"cpu": "1"}, {}, 0), ""),
        (HEAVY, {"runtimeClassName": "r", "overhead": {"cpu": "1"}}, ({"cpu": "1"}, {}, 0), ""),
        (HEAVY, {"runtimeClassName": "r", "overhead": {"cpu": "2"}}, None, "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"),
        (HEAVY, {}, ({}, {}, 0), ""),
        (PLACED, {"runtimeClassName": "r"}, ({}, {"a": "b"}, 1), ""),
        (PLACED, {"runtimeClassName": "r", "nodeSelector": {"a": "b", "c": "d"}}, ({}, {"a": "b", "c": "d"}, 1), ""),
        (PLACED, {"runtimeClassName": "r", "tolerations": [TAINTED]}, ({}, {"a": "b"}, 1), ""),
        (PLACED, {"runtimeClassName": "r", "tolerations": [{"key": "z"}]}, ({}, {"a": "b"}, 2), ""),
        (PLACED, {"runtimeClassName": "r", "nodeSelector": {"a": "c"}}, None, "pod rejected: conflict: runtimeClass.scheduling.nodeSelector[a] = b; pod.spec.nodeSelector[a] = c"),
    ],
)  # fmt: skip
async def test_what_a_pod_gets_from_its_class(
    body: dict[str, Any], spec: dict[str, Any], after: Any, refused: str
) -> None:
    registry = registry_of(stored(runtime(**body)))
    plugin = RuntimeClass(lambda: registry)
    made = pod(**spec)
    said = await refusal(plugin.mutate(attributes("CREATE", made)))
    assert said.endswith(refused) and bool(said) == bool(refused)
    if after is not None:
        assert (made.spec.overhead, made.spec.node_selector, len(made.spec.tolerations)) == after


async def test_only_a_new_pod_gets_something() -> None:
    registry = registry_of(stored(runtime(**HEAVY)))
    plugin = RuntimeClass(lambda: registry)
    made = pod(runtimeClassName="r", tolerations=[])
    await plugin.mutate(attributes("UPDATE", made, made))
    await plugin.mutate(attributes("CREATE", made, subresource="binding"))
    assert made.spec.overhead == {} and Toleration(key="a") not in made.spec.tolerations


# --- default classes ---


def ingress_class(name: str, default: str = "true", created: str = "") -> IngressClass:
    marks = {"ingressclass.kubernetes.io/is-default-class": default}
    meta = {"name": name, "annotations": marks, "creationTimestamp": created or None}
    return from_builtins({"metadata": meta}, IngressClass)  # type: ignore[no-any-return]


def storage_class(name: str, default: str = "true") -> StorageClass:
    marks = {"storageclass.kubernetes.io/is-default-class": default}
    body = {"metadata": {"name": name, "annotations": marks}, "provisioner": "x"}
    return from_builtins(body, StorageClass)  # type: ignore[no-any-return]


OLD, NEW = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"


@pytest.mark.parametrize(
    ("classes", "chosen"),
    [
        ([], None),
        ([ingress_class("a", "false")], None),
        ([ingress_class("a", "false"), ingress_class("b")], "b"),
        ([ingress_class("a", created=NEW), ingress_class("b", created=OLD)], "a"),
        ([ingress_class("a", created=OLD), ingress_class("b", created=OLD)], "b"),
    ],
)
async def test_the_newest_default_class_is_an_ingresss(classes: Any, chosen: str | None) -> None:
    registry = registry_of(stored(*classes))
    plugin = DefaultIngressClass(lambda: registry)
    made = from_builtins({"metadata": {"name": "i", "namespace": "n"}}, Ingress)
    await plugin.mutate(attributes("UPDATE", made, made))
    await plugin.mutate(attributes("CREATE", made, subresource="status"))
    assert made.spec.ingress_class_name is None
    await plugin.mutate(attributes("CREATE", made))
    assert made.spec.ingress_class_name == chosen


@pytest.mark.parametrize(
    ("body", "chosen"),
    [
        ({"spec": {"ingressClassName": "own"}}, "own"),
        ({"metadata": {"annotations": {"kubernetes.io/ingress.class": "old"}}}, None),
    ],
)
async def test_an_ingress_that_names_a_class_keeps_it(body: Any, chosen: str | None) -> None:
    registry = registry_of(stored(ingress_class("a")))
    made = from_builtins(body, Ingress)
    await DefaultIngressClass(lambda: registry).mutate(attributes("CREATE", made))
    assert made.spec.ingress_class_name == chosen


@pytest.mark.parametrize(("said", "chosen"), [(None, "a"), ("", ""), ("own", "own")])
async def test_a_claim_that_names_no_class_gets_the_default(said: str | None, chosen: str) -> None:
    registry = registry_of(stored(storage_class("a"), storage_class("z", "false")))
    plugin = DefaultStorageClass(lambda: registry)
    made = PersistentVolumeClaim()
    made.spec.storage_class_name = said
    await plugin.mutate(attributes("UPDATE", made, made))
    await plugin.mutate(attributes("CREATE", made, subresource="status"))
    assert made.spec.storage_class_name == said
    await plugin.mutate(attributes("CREATE", made))
    assert made.spec.storage_class_name == chosen


# --- claims that grow ---


def claim(size: str, phase: str = "Bound", name: str = "grows") -> PersistentVolumeClaim:
    spec = {"resources": {"requests": {"storage": size}}, "storageClassName": name}
    meta = {"name": "c", "namespace": "n"}
    body = {"metadata": meta, "spec": spec, "status": {"phase": phase}}
    return from_builtins(body, PersistentVolumeClaim)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("old", "new", "refused"),
    [
        (claim("1Gi"), claim("2Gi"), ""),
        (claim("2Gi"), claim("1Gi"), ""),
        (claim("1Gi"), claim("1024Mi"), ""),
        (claim("1Gi", "Pending"), claim("2Gi"), "Only bound persistent volume claims can be expanded"),
        (claim("1Gi", name="stays"), claim("2Gi", name="stays"), "must support resize"),
        (claim("1Gi", name="stays"), claim("2Gi"), "must support resize"),
        (claim("1Gi", name="gone"), claim("2Gi", name="gone"), "must support resize"),
        (claim("1Gi", name=""), claim("2Gi", name=""), "must support resize"),
    ],
)  # fmt: skip
async def test_which_claims_grow(
    old: PersistentVolumeClaim, new: PersistentVolumeClaim, refused: str
) -> None:
    grows = storage_class("grows")
    grows.allow_volume_expansion = True
    registry = registry_of(stored(grows, storage_class("stays")))
    plugin = PersistentVolumeClaimResize(lambda: registry)
    said = await refusal(plugin.validate(attributes("UPDATE", new, old)))
    assert refused in said and bool(said) == bool(refused)
    assert await refusal(plugin.validate(attributes("CREATE", new))) == ""
    assert await refusal(plugin.validate(attributes("UPDATE", new, old, subresource="status"))) == ""  # fmt: skip


# --- owners ---


def owner(uid: str = "u", kind: str = "ConfigMap", blocks: bool | None = None) -> OwnerReference:
    return OwnerReference(api_version="v1", kind=kind, name="o", uid=uid, block_owner_deletion=blocks)  # fmt: skip


def owned(*owners: OwnerReference) -> Any:
    made = config_map("c")
    made.metadata.owner_references = list(owners)
    return made


DELETE = "delete /configmaps default/c"
FINALIZE = "update /configmaps default/o"
DELETES = "you can't delete"
BLOCKS = "you can't set finalizers on"


@pytest.mark.parametrize(
    ("new", "old", "rights", "refused"),
    [
        (owned(), None, (), ""),
        (owned(owner()), None, (), ""),
        (owned(owner()), owned(owner()), (), ""),
        (owned(owner()), owned(), (), DELETES),
        (owned(), owned(owner()), (), DELETES),
        (owned(owner()), owned(), (DELETE,), ""),
        (owned(owner(blocks=True)), None, (), BLOCKS),
        (owned(owner(blocks=True)), None, (FINALIZE,), ""),
        (owned(owner(blocks=False)), None, (), ""),
        (owned(owner(blocks=True)), owned(owner()), (DELETE,), BLOCKS),
        (owned(owner(), owner("v", blocks=True)), owned(owner("v", blocks=True)), (DELETE,), ""),
        (owned(owner(blocks=True)), owned(), (DELETE, FINALIZE), ""),
        (owned(owner(kind="Node", blocks=True)), None, ("update /nodes /o",), ""),
        (owned(owner(kind="Other", blocks=True)), None, (), 'no matches for kind "Other"'),
    ],
)
async def test_who_sets_owners(new: Any, old: Any, rights: tuple[str, ...], refused: str) -> None:
    registry = registry_of(stored())
    plugin = OwnerReferencesPermissionEnforcement(lambda: registry, lambda: Rights(*rights))  # type: ignore[arg-type,return-value]
    write = attributes("UPDATE" if old is not None else "CREATE", new, old)
    said = await refusal(plugin.validate(write))
    assert refused in said and bool(said) == bool(refused)


async def test_nodes_write_statuses_and_deletions_set_no_owners() -> None:
    registry = registry_of(stored())
    plugin = OwnerReferencesPermissionEnforcement(lambda: registry, lambda: Rights())  # type: ignore[arg-type,return-value]
    changed, before = pod(), pod()
    changed.metadata.owner_references = [owner(blocks=True)]
    status = attributes("UPDATE", changed, before, subresource="status")
    assert await refusal(plugin.validate(status)) == ""
    assert await refusal(plugin.validate(attributes("UPDATE", changed, before))) != ""
    assert await refusal(plugin.validate(attributes("DELETE", None, changed))) == ""
