"""Files of a pod that its containers write to although they are the node's: termination logs and
/etc/hosts.

They lie in the pod's own folder, which no container sees. Their content is the container's: no more
of it than a bound is read.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from tiphys.api import core_v1
from tiphys.machinery import handles

TERMINATION_MESSAGE = 4096  # bytes of one container's, as upstream
_HOSTS = Path("/etc/hosts")
_MOST_HOSTS = 1 << 20  # bytes of the node's own file that pods on its network get
_LOCAL = """127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
fe00::0\tip6-mcastprefix
fe00::1\tip6-allnodes
fe00::2\tip6-allrouters
"""


def make_termination_log(folder: Path, container: str, attempt: int) -> Path:
    """Makes an empty file that any user of the container may write to. `folder` is the pod's.
    Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    with (
        handles.folder(folder) as pod,
        handles.folder(f"containers/{container}", pod, make=0o755) as own,
    ):
        handles.write_file(own, str(attempt), b"", 0o666)
    return folder / "containers" / container / str(attempt)


def termination_message(folder: Path, container: str, attempt: int) -> str:
    """What a container wrote as its termination message; "" if there is no such file."""
    try:
        with handles.folder(folder) as pod:
            text = handles.read_file(pod, f"containers/{container}/{attempt}", TERMINATION_MESSAGE)
    except OSError:
        return ""
    return text.decode(errors="replace")


def write_hosts(
    folder: Path, pod: core_v1.Pod, ips: Sequence[str], hostname: str, domain: str
) -> Path:
    """Writes the pod's /etc/hosts: the node's for a pod on the node's network. The first line is
    upstream's, because programs look for it."""
    if pod.spec.host_network:
        text = "# Kubernetes-managed hosts file (host network).\n" + _machine_hosts()
    else:
        name = f"{hostname}.{domain}\t{hostname}" if domain else hostname
        text = f"# Kubernetes-managed hosts file.\n{_LOCAL}"
        text += "".join(f"{ip}\t{name}\n" for ip in ips)
    if pod.spec.host_aliases:
        rows = ["\t".join([alias.ip, *alias.hostnames]) for alias in pod.spec.host_aliases]
        text += "\n# Entries added by HostAliases.\n" + "\n".join(rows) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    with handles.folder(folder) as own:
        handles.write_file(own, "etc-hosts", text.encode(), 0o644)
    return folder / "etc-hosts"


def _machine_hosts() -> str:
    handle = os.open(_HOSTS, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        return (file.read(_MOST_HOSTS) or b"").decode(errors="replace")
