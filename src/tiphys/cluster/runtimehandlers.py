"""The container runtimes of a machine: what a RuntimeClass's `handler` may be, and which one pods
without a RuntimeClass get.

There is nothing to configure: whatever is installed can be asked for (as with k3s). A program that
works as runc does, or a shim of containerd on the path (`containerd-shim-kata-v2` is the handler
`kata`).
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import NamedTuple

RUNC, CRUN = "runc", "crun"
_SHIM_OF_RUNC = "io.containerd.runc.v2"
# Programs with runc's command line.
_LIKE_RUNC = {
    CRUN: "crun",
    "youki": "youki",
    "nvidia": "nvidia-container-runtime",
    "nvidia-cdi": "nvidia-container-runtime.cdi",
}
_CGROUPS = Path("/sys/fs/cgroup")
_SHIM = re.compile(r"containerd-shim-([a-z0-9]([-a-z0-9]*[a-z0-9])?)-(v\d+)")


class Handler(NamedTuple):
    """`type` is containerd's name of the shim; `program` what runc's shim runs in place of runc."""

    name: str
    type: str
    program: str = ""


def installed(path: str | None = None) -> list[Handler]:
    """Of this machine, runc first. `path`: folders to look in, $PATH by default."""
    handlers = {RUNC: Handler(RUNC, _SHIM_OF_RUNC)}
    for name, program in _LIKE_RUNC.items():
        executable = shutil.which(program, path=path)
        if executable is not None:
            handlers[name] = Handler(name, _SHIM_OF_RUNC, executable)
    for folder in (os.environ.get("PATH", "") if path is None else path).split(os.pathsep):
        for file in sorted(Path(folder).glob("containerd-shim-*")) if folder else ():
            shim = _SHIM.fullmatch(file.name)
            if shim is not None and os.access(file, os.X_OK):
                name = shim[1]
                version = shim[3]
                handlers.setdefault(name, Handler(name, f"io.containerd.{name}.{version}"))
    return list(handlers.values())


def default(handlers: list[Handler], raises_limits: bool, cgroups: Path = _CGROUPS) -> str:
    """The name of the one for pods without a RuntimeClass: crun if it is installed and works here,
    else runc. Each pod is ten calls of it, and crun's are shorter (decision 0035).

    raises_limits: whether processes here may raise their limits (CAP_SYS_RESOURCE)
    """
    has_crun = any(handler.name == CRUN for handler in handlers)
    return CRUN if has_crun and _suits_crun(cgroups, raises_limits) else RUNC


def _suits_crun(cgroups: Path, raises_limits: bool) -> bool:
    """It runs nothing where some resources are controlled by control groups of version 1 and others
    by those of version 2. With version 2 alone it raises the limit of locked memory, for the
    program that guards devices."""
    if (cgroups / "cgroup.controllers").exists():
        return raises_limits
    try:
        return not (cgroups / "unified" / "cgroup.controllers").read_text().strip()
    except OSError:
        return True
