"""How the containers of one pod are: the probes that ask them, and what they last said."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from tiphys.api import core_v1
from tiphys.node import probes
from tiphys.node.httpprobe import Answer
from tiphys.node.pulling import Say
from tiphys.node.restarting import is_sidecar
from tiphys.node.runtime import RUNNING, ContainerState, PodState, Runtime


class Health:
    """`ready`, `started` and `unhealthy` name containers. `address` gives the pod's address, `wake` the worker."""

    def __init__(
        self, runtime: Runtime, address: Callable[[], str], say: Say, wake: Callable[[], None]
    ) -> None:
        self._runtime, self._address, self._say, self._wake = runtime, address, say, wake
        self.ready: set[str] = set()
        self.started: set[str] = set()
        self.unhealthy: dict[str, str] = {}  # container → the kind of probe that gave it up
        self._asked: dict[
            str, tuple[str, list[asyncio.Task[None]]]
        ] = {}  # name → (container id, its probes)

    def watch(self, pod: core_v1.Pod, state: PodState) -> None:
        """Begins to ask every container that runs and is not asked yet."""
        for container in [
            *pod.spec.containers,
            *(c for c in pod.spec.init_containers if is_sidecar(c)),
        ]:
            found = state.containers.get(container.name)
            if found is None or found.state != RUNNING:
                continue
            if container.name in self._asked and self._asked[container.name][0] == found.id:
                continue
            self.stop(container.name)
            self._asked[container.name] = (found.id, [])
            told = _told(pod, found)
            if container.startup_probe is not None and not (told is not None and told.started):
                self._ask("startup", container.startup_probe, container, found)
            else:
                self._after_startup(container, found, told is not None and told.ready)

    def stop(self, name: str) -> None:
        """The container ends or has ended: nobody asks it any more."""
        self.ready.discard(name)
        self.started.discard(name)
        self.unhealthy.pop(name, None)
        for task in self._asked.pop(name, ("", []))[1]:
            task.cancel()

    def ending(self, name: str) -> None:
        """The container is told to end: whether it is ready stays a question until it has (upstream's readiness probes go
        on), whether it is alive is none."""
        for task in self._asked.get(name, ("", []))[1]:
            if not task.get_name().startswith("readiness-"):
                task.cancel()

    def stop_all(self) -> None:
        for name in list(self._asked):
            self.stop(name)

    def _after_startup(
        self, container: Any, found: ContainerState, was_ready: bool = False
    ) -> None:
        self.started.add(container.name)
        if container.readiness_probe is not None:
            if was_ready:
                self.ready.add(container.name)
            self._ask("readiness", container.readiness_probe, container, found, was_ready)
        else:
            self.ready.add(container.name)
        if container.liveness_probe is not None:
            self._ask("liveness", container.liveness_probe, container, found)

    def _ask(
        self,
        kind: str,
        probe: core_v1.Probe,
        container: Any,
        found: ContainerState,
        well: bool = False,
    ) -> None:
        prober = probes.Prober(
            kind, probe, container, found.id, self._runtime, self._address, found.started_at, well
        )

        def report(prober: probes.Prober, answer: Answer) -> None:
            self._answered(prober, found, answer)

        task = asyncio.get_running_loop().create_task(
            prober.run(report), name=f"{kind}-{container.name}"
        )
        self._asked[container.name][1].append(task)

    def _answered(self, prober: probes.Prober, found: ContainerState, answer: Answer) -> None:
        name, success = prober.container.name, answer.well
        if self._asked.get(name, ("", []))[0] != found.id:
            return
        if not success:
            self._say(
                "Warning", "Unhealthy", f"{prober.kind.title()} probe failed: {answer.text}", name
            )
        elif answer.warning:
            self._say(
                "Warning",
                "ProbeWarning",
                f"{prober.kind.title()} probe warning: {answer.text}",
                name,
            )
        if prober.kind == "readiness":
            (self.ready.add if prober.verdict.well else self.ready.discard)(name)
        elif prober.kind == "startup" and prober.verdict.well:
            self._after_startup(prober.container, found)
        elif not success and prober.exhausted:
            self.unhealthy[name] = prober.kind
        self._wake()


def _told(pod: core_v1.Pod, found: ContainerState) -> core_v1.ContainerStatus | None:
    """What the pod's status says of a container that runs: an agent before this one knew it, and it has not changed since."""
    every = (*pod.status.container_statuses, *pod.status.init_container_statuses)
    return next((one for one in every if one.container_id.endswith(f"//{found.id}")), None)
