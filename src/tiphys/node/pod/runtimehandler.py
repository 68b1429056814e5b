"""What a pod's RuntimeClass calls its runtime, and what that can do."""

from __future__ import annotations

import asyncio

from tiphys.api import node_v1
from tiphys.node.abilities import IdRange
from tiphys.node.pod.managedpod import ManagedPod
from tiphys.node.resources.usernamespaces import NoRangeLeft
from tiphys.node.runtime import RuntimeFault


async def handler_of(managed: ManagedPod) -> str:
    """ "" for the usual one. Raises RuntimeFault, StatusError, Unreachable."""
    name = managed.pod.spec.runtime_class_name
    if not name:
        return ""
    chosen = await managed.node.references.get(node_v1.RuntimeClass, "", name)
    if chosen is None:
        raise _fault(f'runtimeclass.node.k8s.io "{name}" not found')
    managed.handler = chosen.handler
    return managed.handler


async def users_of(managed: ManagedPod, handler: str) -> IdRange | None:
    """The users and groups of a pod that has its own; None of others. Raises RuntimeFault."""
    if managed.pod.spec.host_users is not False:
        return None
    if not managed.node.runtime.abilities.of(handler).user_namespaces:
        who = f'RuntimeClass handler "{handler}"' if handler else "runtime"
        raise _fault(f"can't set `spec.hostUsers: false`, {who} does not support user namespaces")
    try:
        return await asyncio.to_thread(managed.node.users.take, managed.pod.metadata.uid)
    except (NoRangeLeft, OSError) as error:
        raise _fault(f"create user namespace: {error}") from None


def _fault(problem: str) -> RuntimeFault:
    return RuntimeFault("FailedCreatePodSandBox", f"Failed to create pod sandbox: {problem}")
