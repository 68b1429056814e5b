"""What to do about a pod, decided from its spec and what the runtime shows. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from tiphys.api import core_v1
from tiphys.node.restarting import is_sidecar, policy_of, restarts
from tiphys.node.runtime import EXITED, RUNNING, ContainerState, PodState

BACKOFF_FIRST, BACKOFF_LIMIT, BACKOFF_RESET = 10.0, 300.0, 600.0


@dataclass
class Backoff:
    """Growing pauses between the restarts of one container."""

    delay: float = 0.0
    last: float = 0.0

    def wait(self, finished: float, now: float) -> float:
        """Seconds still to wait before the next start."""
        if not self.delay or finished - self.last > BACKOFF_RESET:
            return 0.0
        return max(0.0, finished + self.delay - now)

    def started(self, now: float) -> None:
        fresh = not self.delay or now - self.last > BACKOFF_RESET + self.delay
        self.delay = BACKOFF_FIRST if fresh else min(self.delay * 2, BACKOFF_LIMIT)
        self.last = now


@dataclass
class Plan:
    """What the worker should do now. `wake` is when to look again, in seconds."""

    sandbox: bool = False  # make a (new) sandbox
    kill_pod: bool = False  # nothing of this pod should run any more
    start: list[tuple[Any, int]] = field(default_factory=list)  # (container spec, attempt)
    kill: list[tuple[ContainerState, str]] = field(default_factory=list)
    waiting: dict[str, tuple[str, str]] = field(
        default_factory=dict
    )  # container → (reason, message)
    finished: bool = False
    wake: float | None = None

    def look_again(self, seconds: float) -> None:
        self.wake = seconds if self.wake is None else min(self.wake, seconds)


def decide(
    pod: core_v1.Pod,
    state: PodState,
    now: float,
    started: set[str],
    unhealthy: Mapping[str, str],
    backoffs: dict[str, Backoff],
    renewing: Collection[str] = (),
) -> Plan:
    """`started` names sidecars whose startup is over, `unhealthy` containers and the kind of probe that gave them up, `renewing` those that
    were ended to be started anew."""
    plan = Plan()
    spec, policy = pod.spec, pod.spec.restart_policy
    if _deadline_passed(pod, now) or pod.status.phase in (
        "Succeeded",
        "Failed",
    ):  # what has ended is not begun anew
        plan.kill_pod = plan.finished = True
        return plan
    if spec.active_deadline_seconds is not None and state.sandbox is not None:
        plan.look_again(max(0.1, state.sandbox.created_at + spec.active_deadline_seconds - now))
    main = [(c, state.containers.get(c.name)) for c in spec.containers]
    if all(
        found is not None
        and found.state == EXITED
        and c.name not in renewing
        and not restarts(policy, c, found)
        for c, found in main
    ):
        plan.finished = plan.kill_pod = True
        return plan
    if state.sandbox is None or not state.sandbox.ready:
        plan.sandbox = True
        if any(c.state == RUNNING for c in state.containers.values()):
            plan.kill_pod = True
        return plan
    for container in [*spec.containers, *spec.init_containers]:
        found = state.containers.get(container.name)
        if container.name in renewing and found is not None and found.state == EXITED:
            plan.start.append((container, found.attempt + 1))
    if plan.start:
        return plan
    if not _initialize(pod, state, now, started, unhealthy, backoffs, plan):
        return plan
    for container in spec.containers:
        _keep(
            container, state.containers.get(container.name), policy, now, unhealthy, backoffs, plan
        )
    plan.start += [(c, 0) for c in spec.ephemeral_containers if c.name not in state.containers]
    return plan


def _deadline_passed(pod: core_v1.Pod, now: float) -> bool:
    from tiphys.machinery import timestamps

    limit, begun = pod.spec.active_deadline_seconds, timestamps.parse(pod.status.start_time)
    return limit is not None and bool(begun) and now - begun >= limit


def _initialize(
    pod: core_v1.Pod,
    state: PodState,
    now: float,
    started: set[str],
    unhealthy: Mapping[str, str],
    backoffs: dict[str, Backoff],
    plan: Plan,
) -> bool:
    """Brings the init containers up in their order. True once the others may run."""
    begun = any(_is_of_sandbox(state, c.name) for c in pod.spec.containers)
    policy = "OnFailure" if pod.spec.restart_policy == "Always" else pod.spec.restart_policy
    for container in pod.spec.init_containers:
        found = state.containers.get(container.name)
        if (
            found is not None
            and policy_of(policy, container) != "Never"
            and not _is_of_sandbox(state, container.name)
        ):
            plan.start.append((container, found.attempt + 1))
            return False
        if is_sidecar(container):
            _keep(container, found, "Always", now, unhealthy, backoffs, plan)
            if not begun and (
                found is None or found.state != RUNNING or container.name not in started
            ):
                return False
            continue
        if begun:
            continue
        if found is not None and found.state == EXITED and found.exit_code == 0:
            continue
        if found is not None and found.state == EXITED and not restarts(policy, container, found):
            plan.finished = plan.kill_pod = True
            return False
        _keep(container, found, policy, now, unhealthy, backoffs, plan)
        return False
    return True


def _is_of_sandbox(state: PodState, name: str) -> bool:
    """Whether a container is one of the sandbox that stands now. What ran in an earlier one is to be done again: it may
    have filled a volume that is empty now."""
    found = state.containers.get(name)
    return (
        found is not None and state.sandbox is not None and found.sandbox in ("", state.sandbox.id)
    )


def _keep(
    container: Any,
    found: ContainerState | None,
    policy: str,
    now: float,
    unhealthy: Mapping[str, str],
    backoffs: dict[str, Backoff],
    plan: Plan,
) -> None:
    """Starts what does not run, stops what is sick, waits where it failed too often."""
    if found is None:
        plan.start.append((container, 0))
    elif found.state == RUNNING:
        if container.name in unhealthy:
            probe = unhealthy[container.name]
            plan.kill.append(
                (found, f"Container {container.name} failed {probe} probe, will be restarted")
            )
    elif found.state == EXITED:
        if not restarts(policy, container, found):
            return
        wait = backoffs.setdefault(container.name, Backoff()).wait(found.finished_at, now)
        if wait > 0:
            delay = backoffs[container.name].delay
            text = f"back-off {_duration(delay)} restarting failed container={container.name} pod="
            plan.waiting[container.name] = ("CrashLoopBackOff", text)
            plan.look_again(wait)
        else:
            plan.start.append((container, found.attempt + 1))
    else:
        plan.start.append((container, found.attempt + 1))


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
