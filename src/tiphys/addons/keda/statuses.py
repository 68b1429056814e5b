"""Writes of statuses by several writers: what others wrote meanwhile stays."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from tiphys.addons.keda.deciding import ConditionState
from tiphys.addons.keda.types import (
    AuthenticationRef,
    ClusterTriggerAuthentication,
    Condition,
    ScaledJob,
    ScaledObject,
    TriggerAuthentication,
)
from tiphys.api.base import Struct, to_builtins
from tiphys.client.client import MERGE, Client
from tiphys.machinery.errors import StatusError, is_conflict, is_not_found

log = logging.getLogger(__name__)

K = TypeVar("K", bound=Struct)
_TRIES = 5
FIRST = {"Ready": "Unknown", "Active": "Unknown", "Fallback": "Unknown", "Paused": "False"}
"""The conditions of an object of which nothing is known yet."""


async def change_status(client: Client, obj: K, change: Callable[[Any], None]) -> K:
    """Writes what `change` makes of the status, if that is something new; returns the object as it
    is then. An object that is gone stays so. Raises StatusError."""
    current = obj
    for attempt in range(_TRIES):
        after = copy.deepcopy(current.status)  # type: ignore[attr-defined]
        change(after)
        before = to_builtins(current.status)  # type: ignore[attr-defined]
        patch = _difference(before, to_builtins(after))
        if not patch:
            return current
        meta = current.metadata  # type: ignore[attr-defined]
        bound = {"metadata": {"resourceVersion": meta.resource_version}, "status": patch}
        try:
            return await client.patch(
                type(obj), meta.name, bound, meta.namespace, "status", media=MERGE
            )
        except StatusError as error:
            if is_not_found(error):
                return current
            if not is_conflict(error) or attempt == _TRIES - 1:
                raise
        current = await client.get(type(obj), meta.name, meta.namespace)
    return current


def _difference(before: Any, after: Any) -> dict[str, Any]:
    """A merge patch of one level and the maps in it: nulls for what is no more."""
    patch: dict[str, Any] = {name: None for name in before if name not in after}
    for name, value in after.items():
        standing = before.get(name)
        if standing == value:
            continue
        if isinstance(value, dict) and isinstance(standing, dict):
            patch[name] = _difference(standing, value)
        else:
            patch[name] = value
    return patch


def set_conditions(status: Any, wanted_conditions: Mapping[str, ConditionState]) -> None:
    """Sets conditions, beside those that every object of KEDA's has from the beginning."""
    if not status.conditions:
        status.conditions = [Condition(type=kind, status=state) for kind, state in FIRST.items()]
    for kind, entry in wanted_conditions.items():
        wanted = Condition(
            type=kind, status=entry.status, reason=entry.reason, message=entry.message
        )
        for place, standing in enumerate(status.conditions):
            if standing.type == kind:
                status.conditions[place] = wanted
                break
        else:
            status.conditions.append(wanted)


async def note_user(
    client: Client, obj: ScaledObject | ScaledJob, field: str, *, gone: bool = False
) -> None:
    """Keeps an object's name in the statuses of the authentications that its triggers use. One that
    is not there is no failure: the trigger reports what it lacks."""
    name = obj.metadata.name
    namespace = obj.metadata.namespace

    def change(status: Any) -> None:
        names = [one for one in getattr(status, field).split(",") if one and one != name]
        setattr(status, field, ",".join(names if gone else [*names, name]))

    refs = {
        (one.authentication_ref.kind, one.authentication_ref.name): one.authentication_ref
        for one in obj.spec.triggers
        if one.authentication_ref is not None and one.authentication_ref.name
    }
    for ref in refs.values():
        try:
            authentication = await _authentication(client, ref, namespace)
            if gone or name not in getattr(authentication.status, field).split(","):
                await change_status(client, authentication, change)
        except StatusError as error:
            log.debug("%s/%s: %s", namespace, name, error)


async def _authentication(client: Client, ref: AuthenticationRef, namespace: str) -> Any:
    if ref.kind == "ClusterTriggerAuthentication":
        return await client.get(ClusterTriggerAuthentication, ref.name)
    return await client.get(TriggerAuthentication, ref.name, namespace)
