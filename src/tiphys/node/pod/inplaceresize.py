"""Resizing the containers of a pod in place: granting what its spec asks for, and applying it."""

from __future__ import annotations

from tiphys.node.pod.lifecycle import Kill, PodActions
from tiphys.node.pod.managedpod import ManagedPod
from tiphys.node.resources.admission import Footprint
from tiphys.node.resources.resize import ContainerResize
from tiphys.node.runtime import RuntimeFault

_RETRY = 2.0  # seconds after a resize that the runtime failed at


def grant_resources(managed: ManagedPod) -> None:
    """Grants the pod the resources of its spec, if the node has room for them."""
    resources = managed.resources
    if resources.are_granted(managed.pod):
        resources.pending = None
        return
    wanted = Footprint(managed.pod.spec)
    pending_before = resources.pending
    problem = managed.node.placement.resize_problem(managed.pod)
    resources.pending = problem or managed.node.shortage(managed.pod.metadata.uid, wanted)
    if resources.pending is None:
        resources.grant(managed.pod)
        managed.footprint = wanted
    elif resources.pending != pending_before:
        reason, message = resources.pending
        managed.event("Warning", f"Resize{reason}", message)


async def apply_resources(managed: ManagedPod, actions: PodActions) -> None:
    """Gives running containers, and the pod as a whole, what they were granted. Those that must be
    restarted for it are added to the actions' kills."""
    if actions.kill_pod or actions.make_sandbox or actions.finished:
        return
    resources = managed.resources
    resizes = resources.unfinished(managed.pod, managed.state)
    is_due = bool(resizes) or resources.pod_is_unfinished()
    if is_due and await _takes_more_memory(managed, actions):
        return
    if is_due:
        await managed.reserve(growing=True)
    for resize in resizes:
        if resize.restarts:
            _restart(managed, resize, actions)
        else:
            await _apply(managed, resize, actions)
    if not is_due or resources.are_restarting():
        return
    if not resources.unfinished(managed.pod, managed.state):
        await managed.reserve()
        managed.event("Normal", "ResizeCompleted", "Pod resize completed")


async def _takes_more_memory(managed: ManagedPod, actions: PodActions) -> bool:
    """Whether a container uses more than it would be left: the kernel refuses such a limit, or
    ends the container (v2). Nothing of the pod is resized until it takes less, as upstream."""
    shrinking = managed.resources.memory_that_shrinks(managed.pod, managed.state)
    if not shrinking:
        return False
    try:
        used = (await managed.node.runtime.usage()).get(managed.pod.metadata.uid, {})
    except (RuntimeFault, TimeoutError) as error:
        _failed(managed, actions, f"unable to read memory usage: {error}")
        return True
    problems = [
        f'attempting to set container "{name}" memory limit ({limit}) below current usage '
        f"({used[name].usage})"
        for name, limit in shrinking.items()
        if name in used and used[name].usage >= limit
    ]
    if problems:
        _failed(managed, actions, f"cannot decrease memory limits: {', '.join(problems)}")
    return bool(problems)


def _failed(managed: ManagedPod, actions: PodActions, problem: str, container: str = "") -> None:
    if problem != managed.resources.error:
        of = f"container {container}" if container else "the pod"
        managed.event("Warning", "ResizeError", f"Resizing {of}: {problem}", container)
    managed.resources.error = problem
    actions.retry(_RETRY)


def _restart(managed: ManagedPod, resize: ContainerResize, actions: PodActions) -> None:
    name = resize.container.name
    managed.records[name].restart_for_resize = True
    current = managed.state.containers[name]
    if all(kill.container is not current for kill in actions.kill):
        actions.kill.append(Kill(current, f"Container {name} resize requires restart"))


async def _apply(managed: ManagedPod, resize: ContainerResize, actions: PodActions) -> None:
    container = resize.container
    try:
        limited = managed.resources.for_runtime(container)
        await managed.node.runtime.resize_container(managed.pod, limited, resize.id)
    except (RuntimeFault, TimeoutError) as error:
        _failed(managed, actions, str(error), container.name)
        return
    managed.resources.error = ""
    managed.resources.set_actual(container.name, resize.id, container.resources)
