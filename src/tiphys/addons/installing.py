"""What an enabled add-on leaves in a cluster, and how it is put there. `removing` takes it away."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

import tiphys
from tiphys.addons import types
from tiphys.addons.optional import LABEL, NAMESPACE, OptionalAddon, rule
from tiphys.api import (
    apiextensions_v1,
    apps_v1,
    core_v1,
    rbac_v1,
)
from tiphys.api.base import Struct, from_builtins, to_builtins
from tiphys.api.meta_v1 import LabelSelector, ObjectMeta
from tiphys.client.client import Client
from tiphys.operator import definition
from tiphys.operator.run import install as install_definitions

HOST = "tiphys:addons"  # the user that runs enabled add-ons
_MANAGER = "tiphys-addon"
_RBAC = "rbac.authorization.k8s.io"


class AddonError(Exception):
    """The user can do something about it; the text is what."""


# --- settings and dependencies ---


def settings_of(addon: OptionalAddon, assignments: Iterable[str], before: Any = None) -> Any:
    """The settings after ``field=value`` each, on top of those `before` (plain data). Raises
    AddonError.

    A value is read as JSON where it is some, and as text otherwise.
    """
    plain = dict(before or {})
    known = {field.encode_name: field for field in msgspec.structs.fields(addon.settings)}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals or name not in known:
            listed = ", ".join(known) or "none"
            raise AddonError(f"{assignment}: {addon.name} has the settings {listed}")
        plain[name] = _value(text, known[name].type)
    try:
        return from_builtins(plain, addon.settings)
    except msgspec.ValidationError as error:
        raise AddonError(f"settings of {addon.name}: {error}") from None


def _value(text: str, kind: Any) -> Any:
    if kind is str:
        return text
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


def check_dependencies(addon: OptionalAddon) -> None:
    """Raises AddonError with the command that installs what is missing."""
    missing = [name for name in addon.modules if not _is_installed(name)]
    if missing:
        raise AddonError(
            f"{addon.name} needs {', '.join(missing)}: pip install 'tiphys[{addon.extra}]'"
        )


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # its parent is not there
        return False


# --- the objects ---


def manifest(addon: OptionalAddon, settings: Any) -> list[Struct]:
    """Every object that enabling creates, in order: definitions, account, rights, and the add-on's
    own."""
    objects: list[Struct] = [
        core_v1.Namespace(metadata=ObjectMeta(name=NAMESPACE)),
        core_v1.ServiceAccount(metadata=ObjectMeta(name=addon.name, namespace=NAMESPACE)),
        *addon.definitions(),
        rbac_v1.ClusterRole(
            metadata=ObjectMeta(name=f"tiphys:addon:{addon.name}"),
            rules=[
                *addon.rights,
                rule("create patch update", "events"),
                rule("get", "addons", types.GROUP, addon.name),
                rule("patch", "addons/status", types.GROUP, addon.name),
            ],
        ),
        rbac_v1.ClusterRoleBinding(
            metadata=ObjectMeta(name=f"tiphys:addon:{addon.name}"),
            role_ref=_cluster_role(f"tiphys:addon:{addon.name}"),
            subjects=[rbac_v1.Subject(kind="ServiceAccount", name=addon.name, namespace=NAMESPACE)],
        ),
        *addon.objects(settings),
    ]
    for obj in objects[1:]:
        obj.metadata.labels = {**obj.metadata.labels, LABEL: addon.name}  # type: ignore[attr-defined]
    return objects


def host_rights() -> list[Struct]:
    """What the process that runs add-ons may do: see which are enabled, say how they are, and
    become their accounts."""
    name = "tiphys:addons"
    return [
        rbac_v1.ClusterRole(
            metadata=ObjectMeta(name=name),
            rules=[
                rule("get list watch", "addons", types.GROUP),
                rule("patch update", "addons/status", types.GROUP),
                # who may read its metrics
                rule("create", "tokenreviews", "authentication.k8s.io"),
                rule("create", "subjectaccessreviews", "authorization.k8s.io"),
            ],
        ),
        rbac_v1.ClusterRoleBinding(
            metadata=ObjectMeta(name=name),
            role_ref=_cluster_role(name),
            subjects=[_host()],
        ),
        rbac_v1.Role(
            metadata=ObjectMeta(name=name, namespace=NAMESPACE),
            rules=[rule("create", "serviceaccounts/token")],
        ),
        rbac_v1.RoleBinding(
            metadata=ObjectMeta(name=name, namespace=NAMESPACE),
            role_ref=rbac_v1.RoleRef(api_group=_RBAC, kind="Role", name=name),
            subjects=[_host()],
        ),
    ]


def _host() -> rbac_v1.Subject:
    return rbac_v1.Subject(kind="User", api_group=_RBAC, name=HOST)


def _cluster_role(name: str) -> rbac_v1.RoleRef:
    return rbac_v1.RoleRef(api_group=_RBAC, kind="ClusterRole", name=name)


# --- enabling ---


async def enable(client: Client, addon: OptionalAddon, settings: Any) -> types.Addon:
    """Installs the add-on and records in the cluster that it is enabled. Safe to repeat; settings
    replace earlier ones."""
    objects = manifest(addon, settings)
    definitions = [o for o in objects if isinstance(o, apiextensions_v1.CustomResourceDefinition)]
    await _apply(client, [objects[0], *host_rights()])
    await install_definitions(client, (definition(types.Addon), *definitions), _MANAGER)
    await _apply(client, [o for o in objects[1:] if o not in definitions])
    custom_resource = types.Addon(
        metadata=ObjectMeta(name=addon.name),
        spec=types.AddonSpec(settings=to_builtins(settings)),
    )
    return await client.apply(custom_resource, manager=_MANAGER, force=True)


async def _apply(client: Client, objects: Sequence[Struct]) -> None:
    for obj in objects:
        await client.apply(obj, manager=_MANAGER, force=True)


# --- as a pod ---


def whole_manifest(addon: OptionalAddon, settings: Any, image: str = "") -> list[Struct]:
    """Everything that runs the add-on on any Kubernetes, in an order in which `kubectl apply` takes
    it. Without the object of kind Addon, which is for `tiphys addon status`: kubectl looks its kind
    up before it has created the definition."""
    return [*manifest(addon, settings), deployment(addon, settings, image)]


def deployment(addon: OptionalAddon, settings: Any, image: str = "") -> apps_v1.Deployment:
    """The pod that runs the add-on with its account where no process of ours does."""
    labels = {LABEL: addon.name}
    container = core_v1.Container(
        name="addon",
        image=image or f"tiphys:{tiphys.__version__}",
        args=["addons", "--only", addon.name, "--settings", _as_json(settings)],
        volume_mounts=[core_v1.VolumeMount(name="data", mount_path="/data")],
        security_context=core_v1.SecurityContext(
            allow_privilege_escalation=False,
            capabilities=core_v1.Capabilities(drop=["ALL"]),
        ),
    )
    manifest = apps_v1.Deployment(
        metadata=ObjectMeta(name=addon.name, namespace=NAMESPACE, labels=dict(labels))
    )
    manifest.spec.replicas = 1
    manifest.spec.strategy.type = "Recreate"  # two of one would work against each other
    manifest.spec.selector = LabelSelector(match_labels=labels)
    manifest.spec.template = core_v1.PodTemplateSpec(
        metadata=ObjectMeta(labels=dict(labels)),
        spec=core_v1.PodSpec(
            service_account_name=addon.name,
            containers=[container],
            volumes=[core_v1.Volume(name="data", empty_dir=core_v1.EmptyDirVolumeSource())],
        ),
    )
    return manifest


def _as_json(settings: Any) -> str:
    return msgspec.json.encode(to_builtins(settings)).decode()


async def apply_deployment(client: Client, addon: OptionalAddon, settings: Any) -> None:
    """Runs the add-on as a pod: for a cluster that is not ours."""
    await _apply(client, [deployment(addon, settings)])
