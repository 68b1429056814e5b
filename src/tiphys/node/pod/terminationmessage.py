"""The termination message of a container: what it wrote to its file, or the end of its log."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tiphys.api import core_v1
from tiphys.node.containers.logs import end_of_log
from tiphys.node.runtime import Runtime
from tiphys.node.states import ContainerState, PodIdentity
from tiphys.node.volumes.podfiles import termination_message

_LINES, _BYTES = 80, 2048  # of a log that stands for a termination message, as upstream


def message_of(
    pod: core_v1.Pod, container: Any, ended: ContainerState, folder: Path, runtime: Runtime
) -> str:
    """`folder` is the pod's on this node. Empty if the container left no message.

    With the policy FallbackToLogsOnError, the log of a container that failed takes its place.
    """
    message = termination_message(folder, container.name, ended.attempt)
    falls_back = container.termination_message_policy == "FallbackToLogsOnError"
    if message or not falls_back or ended.exit_code == 0:
        return message
    try:
        file = runtime.open_log(PodIdentity.of(pod), container.name, ended.attempt)
    except OSError:
        return ""
    try:
        return end_of_log(file, _LINES, _BYTES)
    finally:
        os.close(file)
