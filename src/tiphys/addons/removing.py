"""How every trace of an enabled add-on goes again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import msgspec

from tiphys.addons import types
from tiphys.addons.installing import AddonError
from tiphys.addons.optional import LABEL, OptionalAddon
from tiphys.api import (
    admissionregistration_v1,
    apiregistration_v1,
    apps_v1,
    batch_v1,
    core_v1,
    discovery_v1,
    networking_v1,
    rbac_v1,
)
from tiphys.api.apiextensions_v1 import CustomResourceDefinition
from tiphys.api.base import Struct
from tiphys.client.client import Client
from tiphys.machinery.errors import StatusError, is_not_found

_GOING = 60.0  # seconds in which something of an add-on has to go
_LOOK = 0.1  # seconds between checks of what is left
_KINDS: tuple[type[Struct], ...] = (
    admissionregistration_v1.MutatingWebhookConfiguration,
    admissionregistration_v1.ValidatingWebhookConfiguration,
    apiregistration_v1.APIService,
    apps_v1.Deployment,
    apps_v1.DaemonSet,
    apps_v1.StatefulSet,
    batch_v1.Job,
    core_v1.Service,
    discovery_v1.EndpointSlice,
    core_v1.ConfigMap,
    core_v1.Secret,
    core_v1.ServiceAccount,
    networking_v1.IngressClass,
    rbac_v1.ClusterRoleBinding,
    rbac_v1.ClusterRole,
    rbac_v1.RoleBinding,
    rbac_v1.Role,
)
"""What an add-on may have made, in the order in which it goes: first what others are called
through."""


async def disable(client: Client, addon: OptionalAddon) -> None:
    """Takes the add-on and everything that it made out of the cluster.

    Custom objects go first, while their controller still runs and cleans up behind them; then their
    definitions. Raises AddonError when for a minute nothing goes.
    """
    definitions = addon.definitions()
    try:
        await _remove_objects(client, definitions)
        async with asyncio.timeout(_GOING):
            for crd in definitions:
                await _delete(client, CustomResourceDefinition, crd.metadata.name)
            for crd in definitions:
                await _gone(client, CustomResourceDefinition, crd.metadata.name)
            await _delete(client, types.Addon, addon.name)
            for kind in _KINDS:
                await _delete_labelled(client, kind, addon.name)
    except TimeoutError:
        left = await custom_objects(client, addon)
        remaining = shortened(left) if left else "something of it"
        raise AddonError(
            f"{addon.name}: {remaining} does not go; "
            f"is it ready (tiphys addon status {addon.name})? "
            f"Look at: kubectl get crd,deploy,svc -A -l {LABEL}={addon.name}"
        ) from None


# --- custom objects ---


async def custom_objects(client: Client, addon: OptionalAddon) -> list[str]:
    """``kind namespace/name`` of every object of the add-on's custom resources: what disabling
    would lose."""
    lost = []
    for crd in addon.definitions():
        for obj in await _list(client, crd):
            metadata = obj["metadata"]
            place = f"{metadata['namespace']}/" if metadata.get("namespace") else ""
            lost.append(f"{crd.spec.names.kind} {place}{metadata['name']}")
    return lost


def shortened(objects: list[str]) -> str:
    """The first of them, and how many more."""
    more = f" and {len(objects) - 5} more" if len(objects) > 5 else ""
    return ", ".join(objects[:5]) + more


async def _remove_objects(client: Client, definitions: Iterable[CustomResourceDefinition]) -> None:
    """Deletes the objects that there are, and returns when they are gone. Raises TimeoutError.

    Every definition stays meanwhile, also of a kind without objects: a controller that starts just
    now, after a restart of the cluster, does nothing before it has seen all the kinds it follows.
    Objects that a controller recreates, as a queue does for a job, go with their definitions.
    """
    going = set()
    for crd in definitions:
        listed = await _list(client, crd)
        going |= {obj["metadata"]["uid"] for obj in listed}
        for namespace in {obj["metadata"].get("namespace", "") for obj in listed}:
            await _delete_all(client, crd, namespace)
    async with asyncio.timeout(_GOING) as limit:
        while going:
            listed = [obj for crd in definitions for obj in await _list(client, crd)]
            left = going & {obj["metadata"]["uid"] for obj in listed}
            if len(left) < len(going):
                limit.reschedule(asyncio.get_running_loop().time() + _GOING)
            going = left
            await asyncio.sleep(_LOOK if going else 0)


async def _delete_all(client: Client, crd: CustomResourceDefinition, namespace: str) -> None:
    try:
        await client.request("DELETE", _path(crd, namespace))
    except StatusError as error:
        if not is_not_found(error):
            raise


async def _list(client: Client, crd: CustomResourceDefinition) -> list[dict[str, Any]]:
    try:
        return list(msgspec.json.decode(await client.request("GET", _path(crd)))["items"])
    except StatusError as error:
        if is_not_found(error):
            return []
        raise


def _path(crd: CustomResourceDefinition, namespace: str = "") -> str:
    version = next(v.name for v in crd.spec.versions if v.storage)
    place = f"namespaces/{namespace}/" if namespace else ""
    return f"/apis/{crd.spec.group}/{version}/{place}{crd.spec.names.plural}"


# --- other objects ---


async def _delete(client: Client, kind: type[Struct], name: str, namespace: str = "") -> None:
    try:
        await client.delete(kind, name, namespace, propagation="Background")
    except StatusError as error:
        if not is_not_found(error):
            raise


async def _gone(client: Client, kind: type[Struct], name: str) -> None:
    while True:
        try:
            await client.get(kind, name)
        except StatusError as error:
            if is_not_found(error):
                return
            raise
        await asyncio.sleep(_LOOK)


async def _delete_labelled(client: Client, kind: type[Struct], name: str) -> None:
    listed = await client.list(kind, labels=f"{LABEL}={name}")
    for obj in listed.items:
        metadata = obj.metadata  # type: ignore[attr-defined]
        await _delete(client, kind, metadata.name, metadata.namespace)
