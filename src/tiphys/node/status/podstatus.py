"""A pod's status, from its spec and what the runtime shows. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from tiphys.api import core_v1 as v1
from tiphys.api.base import Quantity, canonical_quantity
from tiphys.machinery import timestamps
from tiphys.machinery.addresses import led_by
from tiphys.machinery.finished import is_final
from tiphys.machinery.footprint import CPU, requests_of
from tiphys.node.containers.restartpolicy import init_policy, is_restarted, is_sidecar
from tiphys.node.resources.admission import Rejection
from tiphys.node.resources.cgroups import is_limited, limits_of
from tiphys.node.states import EXITED, RUNNING, ContainerState, PodState
from tiphys.node.status.conditions import conditions
from tiphys.node.status.containerstatus import (
    Observation,
    add_devices,
    add_resources,
    container_status,
)

_MESSAGES = 12 << 10  # bytes of all termination messages of a pod, as upstream


def pod_status(seen: Observation) -> v1.PodStatus:
    """The whole status, with the fields that the node does not set left empty."""
    pod = seen.pod
    status = v1.PodStatus(
        qos_class=pod.status.qos_class,
        host_ip=next(iter(seen.host_ips), ""),
        host_ips=[v1.HostIP(ip=ip) for ip in seen.host_ips],
        observed_generation=pod.metadata.generation,
        start_time=pod.status.start_time or timestamps.rfc3339(seen.now),
    )
    _set_container_statuses(seen, status)
    is_restarting = any(
        record.removed is not None or record.restart_anyway for record in seen.records.values()
    )
    status.phase = phase(pod, seen.state, is_restarting)
    _set_resources(seen, status)
    if failure := seen.failure or _earlier_failure(pod):
        status.phase = "Failed"
        status.reason = failure.reason
        status.message = failure.message
    if is_final(status.phase):
        for main in status.container_statuses:
            main.ready = False
    if ips := _pod_ips(seen):
        status.pod_ip = ips[0]
        status.pod_ips = [v1.PodIP(ip=ip) for ip in ips]
    status.conditions = conditions(seen, status)
    _cut_messages(status)
    return status


def _earlier_failure(pod: v1.Pod) -> Rejection | None:
    """Why a node failed the pod before, as its status says."""
    if pod.status.reason not in ("DeadlineExceeded", "Evicted", "Preempting", "Terminated"):
        return None
    return Rejection(pod.status.reason, pod.status.message)


def _pod_ips(seen: Observation) -> tuple[str, ...]:
    """Those that the pod has or had, the node's own for one on its network."""
    sandbox = seen.state.sandbox
    if seen.pod.spec.host_network:
        ips = seen.host_ips
    else:
        ips = sandbox.ips if sandbox is not None else ()
        ips = led_by(ips, next(iter(seen.host_ips), ""))
    before = seen.pod.status
    known = tuple(pod_ip.ip for pod_ip in before.pod_ips)
    return ips or known or ((before.pod_ip,) if before.pod_ip else ())


def _set_container_statuses(seen: Observation, status: v1.PodStatus) -> None:
    spec = seen.pod.spec
    old = seen.pod.status
    default = "PodInitializing" if spec.init_containers else "ContainerCreating"
    for container in spec.containers:
        main = container_status(seen, container, default)
        add_devices(seen, main)
        status.container_statuses.append(main)
    for container in spec.init_containers:
        init = container_status(seen, container, "PodInitializing")
        if not is_sidecar(container) and init.state.terminated is not None:
            init.ready = init.state.terminated.exit_code == 0
        status.init_container_statuses.append(init)
    for ephemeral in spec.ephemeral_containers:
        ephemeral_status = container_status(seen, ephemeral, "ContainerCreating")
        status.ephemeral_container_statuses.append(ephemeral_status)
    restarts = {
        previous.name: previous.restart_count
        for previous in [*old.container_statuses, *old.init_container_statuses]
    }
    resizable = [*spec.containers, *spec.init_containers]
    statuses = [*status.container_statuses, *status.init_container_statuses]
    for container, main_status in zip(resizable, statuses, strict=True):
        add_resources(seen, container, main_status)
        if main_status.name not in seen.state.containers:
            main_status.restart_count = max(
                main_status.restart_count, restarts.get(main_status.name, 0)
            )


def _set_resources(seen: Observation, status: v1.PodStatus) -> None:
    """What the pod was granted, and what it has as a whole: what it asks for so, or the sums of its
    containers (upstream's gate InPlacePodLevelResourcesVerticalScaling)."""
    resources = seen.resources
    spec = resources.allocated_spec(seen.pod)
    status.allocated_resources = _requests(spec)
    if seen.pod.spec.resources is None or resources.allocated_to_pod is None:
        status.resources = _summed(spec, status)
        return
    shown = resources.actual_of_pod or resources.allocated_to_pod
    requests = {**status.allocated_resources, **shown.requests}
    status.resources = v1.ResourceRequirements(requests=requests, limits=shown.limits)


def _summed(spec: v1.PodSpec, status: v1.PodStatus) -> v1.ResourceRequirements:
    """Of a pod that does not run yet, all that its containers say; then what its control group
    has."""
    limits = limits_of(spec)
    requests = status.allocated_resources
    if status.phase == "Running":
        requests = {name: requests[name] for name in ("cpu", "memory") if name in requests}
        limits = {name: limits[name] for name in ("cpu", "memory") if is_limited(spec, name)}
    return v1.ResourceRequirements(requests=requests, limits=_quantities(limits))


def _quantities(amounts: Mapping[str, int]) -> dict[str, Quantity]:
    """In the units of `machinery.footprint`."""
    return {
        name: canonical_quantity(f"{amount}m" if name == CPU else str(amount))
        for name, amount in amounts.items()
        if amount
    }


def _requests(spec: v1.PodSpec) -> dict[str, Quantity]:
    """Those that the pod says are shown as it says them."""
    own = spec.resources.requests if spec.resources is not None and not spec.overhead else {}
    return {**_quantities(requests_of(spec)), **own}


def phase(pod: v1.Pod, state: PodState, is_restarting: bool = False) -> str:
    """Pending until every main container has started once; then it depends on those that ended.
    `is_restarting`: containers were removed or ended to be restarted."""
    spec = pod.spec
    if any(_has_failed_for_good(pod, state, container) for container in spec.init_containers):
        return "Failed"
    mains = [state.containers.get(container.name) for container in spec.containers]
    started: list[ContainerState] = []
    for main in mains:
        if main is not None and main.state in (RUNNING, EXITED):
            started.append(main)
    if len(started) < len(mains):
        was_running = pod.status.phase not in ("", "Pending")
        is_known = is_restarting or any(main is not None for main in mains)
        return "Running" if was_running and is_known else "Pending"
    for container, main in zip(spec.containers, started, strict=True):
        if main.state == RUNNING or is_restarted(spec.restart_policy, container, main):
            return "Running"
    if is_restarting:
        return "Running"
    return "Failed" if any(main.exit_code for main in started) else "Succeeded"


def _has_failed_for_good(pod: v1.Pod, state: PodState, container: v1.Container) -> bool:
    current = state.containers.get(container.name)
    if is_sidecar(container) or current is None or current.state != EXITED:
        return False
    policy = init_policy(pod.spec.restart_policy)
    return current.exit_code != 0 and not is_restarted(policy, container, current)


def _cut_messages(status: v1.PodStatus) -> None:
    """Keeps all termination messages of a pod together within a bound: each container has an equal
    part of it."""
    statuses = [
        *status.container_statuses,
        *status.init_container_statuses,
        *status.ephemeral_container_statuses,
    ]
    for container in statuses:
        for terminated in (container.state.terminated, container.last_state.terminated):
            if terminated is not None:
                terminated.message = _cut(terminated.message, _MESSAGES // len(statuses))


def _cut(text: str, limit: int) -> str:
    """At most `limit` bytes of a text, in whole characters."""
    longest_encoding = len(text) * 4
    if longest_encoding <= limit:
        return text
    return text.encode()[:limit].decode(errors="ignore")


def settle(pod: v1.Pod, status: v1.PodStatus) -> None:
    """Gives a status its final phase when nothing of the pod will run any more.

    As upstream, a container that was created and never seen to end counts as failed.
    """
    if is_final(status.phase):
        return
    mains = status.container_statuses
    inits = status.init_container_statuses
    if _has_initialized(pod, status):
        _mark_as_lost(mains)
    last_created = max((n for n, init in enumerate(inits) if _was_created(init)), default=0)
    _mark_as_lost(inits[: last_created + 1])
    have_succeeded = [
        main.state.terminated is not None and main.state.terminated.exit_code == 0 for main in mains
    ]
    status.phase = "Succeeded" if all(have_succeeded) else "Failed"


def _was_created(status: v1.ContainerStatus) -> bool:
    return status.state.waiting is None or status.last_state.terminated is not None


def _has_initialized(pod: v1.Pod, status: v1.PodStatus) -> bool:
    if not pod.spec.init_containers:
        return True
    if any(_was_created(main) for main in status.container_statuses):
        return True
    last = status.init_container_statuses[-1]
    if is_sidecar(pod.spec.init_containers[-1]):
        return last.state.running is not None and bool(last.started)
    terminated = last.state.terminated or last.last_state.terminated
    return terminated is not None and terminated.exit_code == 0


def _mark_as_lost(statuses: list[v1.ContainerStatus]) -> None:
    """Reports containers whose end was not observed, with the exit code of a killed process."""
    for status in statuses:
        if status.state.terminated is not None:
            continue
        terminated = v1.ContainerStateTerminated(
            exit_code=137,
            reason="ContainerStatusUnknown",
            message="The container could not be located when the pod was terminated",
        )
        status.state = v1.ContainerState(terminated=terminated)
        status.ready = False
        status.started = False
