"""What a container that has ended left behind: its termination message, or the end of its log in place of one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tiphys.api import core_v1
from tiphys.node.logs import last_words
from tiphys.node.podfiles import termination_message
from tiphys.node.runtime import ContainerState, Runtime

_LINES, _BYTES = 80, 2048  # of a log that stands for a termination message, as upstream


def message_of(
    pod: core_v1.Pod, container: Any, ended: ContainerState, folder: Path, runtime: Runtime
) -> str:
    """`folder` is the pod's on this node. Empty if nothing was left."""
    written = termination_message(folder, container.name, ended.attempt)
    wants_log = container.termination_message_policy == "FallbackToLogsOnError" and ended.exit_code
    if written or not wants_log:
        return written
    meta = pod.metadata
    try:
        file = runtime.open_log(meta.namespace, meta.name, meta.uid, container.name, ended.attempt)
    except OSError:
        return ""
    try:
        return last_words(file, _LINES, _BYTES)
    finally:
        os.close(file)
