"""Which settings of the kernel a pod may have. Pure; upstream's `pkg/kubelet/sysctl`."""

from __future__ import annotations

import re
from collections.abc import Iterable

from tiphys.api import core_v1

_IPC, _NET = "IPC", "Net"
# What a pod may set without reaching beyond itself: upstream's safe sysctls, each of a namespace
# that is the pod's own.
_SAFE = (
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
)
# Those that the kernel keeps for each namespace.
_NAMES = {"kernel.sem": _IPC}
_PREFIXES = {"kernel.shm": _IPC, "kernel.msg": _IPC, "fs.mqueue.": _IPC, "net.": _NET}
_PATTERN = r"([a-z0-9][-_a-z0-9]*[\./])*([a-z0-9][-_a-z0-9]*\*?|\*)"
_MOST = 253  # characters


class SysctlAllowlist:
    """The safe ones, and those that the node's administrator allows beside them."""

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        """`allowed` are names, or beginnings of names and a star. Raises ValueError."""
        self._names: dict[str, str] = {}
        self._prefixes: dict[str, str] = {}
        for pattern in (*_SAFE, *allowed):
            self._allow(pattern)

    def _allow(self, pattern: str) -> None:
        if len(pattern) > _MOST or re.fullmatch(_PATTERN, pattern) is None:
            raise ValueError(
                f'sysctl "{pattern}" must have at most {_MOST} characters and match regex '
                f"^{_PATTERN}$"
            )
        name = sysctl_name(pattern)
        is_prefix = name.endswith("*")
        name = name.rstrip("*")
        namespace = _namespace(name)
        if namespace is None:
            raise ValueError(f'the sysctls "{name}" are not known to be namespaced')
        (self._prefixes if is_prefix else self._names)[name] = namespace

    def problem(self, spec: core_v1.PodSpec) -> str:
        """Why a pod may not set what it says; "" if it may."""
        security = spec.security_context
        for sysctl in security.sysctls if security is not None else ():
            if problem := self._problem(spec, sysctl_name(sysctl.name)):
                return f"forbidden sysctl: {problem}"
        return ""

    def _problem(self, spec: core_v1.PodSpec, name: str) -> str:
        namespace = self._names.get(name)
        if namespace is None:
            matching = (its for prefix, its in self._prefixes.items() if name.startswith(prefix))
            namespace = next(matching, None)
        if namespace is None:
            return f'"{name}" not allowlisted'
        shares_with_host = spec.host_network if namespace == _NET else spec.host_ipc
        return f'"{name}" not allowed with host {namespace} enabled' if shares_with_host else ""


def _namespace(name: str) -> str | None:
    """Of a sysctl, or of those with the same prefix; None if they are the machine's."""
    if name in _NAMES:
        return _NAMES[name]
    matching = (its for prefix, its in _PREFIXES.items() if name.startswith(prefix))
    return next(matching, None)


def sysctl_name(name: str) -> str:
    """The name with dots between its parts. In one whose first separator is a slash, slashes and
    dots are exchanged, as sysctl(8) reads them."""
    separators = [letter for letter in name if letter in "./"]
    if not separators or separators[0] == ".":
        return name
    return name.translate(str.maketrans("./", "/."))
