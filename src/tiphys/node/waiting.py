"""Why the containers of a pod wait, as its status tells, and how long those that could not be started have to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import Any

from tiphys.api import core_v1
from tiphys.node.lifecycle import Backoff
from tiphys.node.pulling import PULL_FAULTS
from tiphys.node.runtime import RuntimeFault

_FIRST, _PULL_FIRST, _LIMIT = (
    2.0,
    10.0,
    300.0,
)  # seconds of pause after a start, or a pull, that failed
_SHOWN = 1.5  # seconds after which a failed pull shows as a pause
# What shows until the next try. A container that was made and could not be started (RunContainerError) has ended.
_STAYS = PULL_FAULTS | {"CreateContainerConfigError", "CreateContainerError"}

Say = Callable[[str, str, str, str], None]  # (kind, reason, message, container) of an event


class Waiting:
    """`reasons`: container → (reason, message). `wake` is called when there is something new to tell."""

    def __init__(self, now: Callable[[], float], say: Say, wake: Callable[[], None]) -> None:
        self.reasons: dict[str, tuple[str, str]] = {}
        self._pauses: dict[str, Backoff] = {}
        self._now, self._say, self._wake = now, say, wake

    def renew(
        self, found: Mapping[str, tuple[str, str]], starting: Collection[str], pod: core_v1.Pod
    ) -> None:
        """Takes over what was found now; what could not be started waits on."""
        kept = {
            name: why for name, why in self.reasons.items() if name in starting or why[0] in _STAYS
        }
        meta = pod.metadata
        told = f"{meta.name}_{meta.namespace}({meta.uid})"
        for name, (reason, _) in found.items():
            if self.reasons.get(name, ("", ""))[0] != reason:
                self._say(
                    "Warning",
                    "BackOff",
                    f"Back-off restarting failed container {name} in pod {told}",
                    name,
                )
        self.reasons = kept | {
            name: (reason, text + told) for name, (reason, text) in found.items()
        }

    def pause(self, name: str) -> float:
        """Seconds until a container may be tried again."""
        blocked = self._pauses.get(name)
        return max(0.0, blocked.last + blocked.delay - self._now()) if blocked is not None else 0.0

    def pulled(self, name: str) -> None:
        self._pauses.pop(name, None)

    def started(self, name: str) -> None:
        self.reasons.pop(name, None)

    def failed(self, container: Any, fault: RuntimeFault) -> None:
        """A container could not be started, or its image not pulled."""
        name, reason, pulling = container.name, fault.reason, fault.reason in PULL_FAULTS
        self._say("Warning", "Failed", f"Error: {reason if pulling else fault}", name)
        pause = self._pauses.setdefault(name, Backoff())
        pause.delay = min(max(pause.delay * 2, _PULL_FIRST if pulling else _FIRST), _LIMIT)
        pause.last = self._now()
        self.reasons[name] = (reason, str(fault))
        if reason == "ErrImagePull" and pause.delay > _PULL_FIRST:
            self._show_pause(container, fault)
        elif reason == "ErrImagePull":
            asyncio.get_running_loop().call_later(_SHOWN, self._later, container, fault)

    def _show_pause(self, container: Any, fault: RuntimeFault) -> None:
        text = f'Back-off pulling image "{fault.image or container.image}"'
        self.reasons[container.name] = ("ImagePullBackOff", f"{text}: ErrImagePull: {fault}")
        self._say("Normal", "BackOff", text, container.name)
        self._say("Warning", "Failed", "Error: ImagePullBackOff", container.name)

    def _later(self, container: Any, fault: RuntimeFault) -> None:
        if self.reasons.get(container.name, ("", ""))[0] == "ErrImagePull":
            self._show_pause(container, fault)
            self._wake()
