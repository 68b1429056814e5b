"""The cluster's own containerds, one for each node: their configuration, and the removal of all
they leave behind."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from pathlib import Path

from tiphys.cluster import pushing, runtimehandlers
from tiphys.cluster.images import PAUSE
from tiphys.cluster.sandboxes import NodePlace, places, tear_down
from tiphys.cluster.state import Cluster, ClusterError
from tiphys.machinery import handles
from tiphys.network.pods import write_plugins
from tiphys.node.volumes.mounts import unmount_below

PLUGINS = ("/usr/lib/cni", "/opt/cni/bin")
_PROGRAMS = {
    "containerd": "containerd",
    "runc": "runc",
    "ctr": "containerd",
    "nft": "nftables",
    "ip": "iproute2",
    "conntrack": "conntrack",
    "nsenter": "util-linux",
}


def missing() -> list[str]:
    """Debian packages that containers need and that are not here."""
    packages = {package for program, package in _PROGRAMS.items() if shutil.which(program) is None}
    if not any(Path(folder, "ptp").exists() for folder in PLUGINS):
        packages.add("containernetworking-plugins")
    return sorted(packages)


def check() -> None:
    """Raises ClusterError when this machine cannot run containers."""
    if os.geteuid() != 0:
        raise ClusterError(
            "containers need root: run as root, or use --runtime hollow for nodes that only pretend"
        )
    lacking = missing()
    if lacking:
        raise ClusterError(
            f"not installed: {', '.join(lacking)}. On Debian: apt-get install "
            f"{' '.join(lacking)}; or use --runtime hollow"
        )


def _has_resource_capability() -> bool:
    """CAP_SYS_RESOURCE (bit 24): without it a process's OOM score cannot be lowered."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("CapEff:"):
                return bool(int(line.split()[1], 16) >> 24 & 1)
    return True


def _runtimes() -> str:
    """The runtimes that are installed here, each under the name that RuntimeClasses ask for."""
    handlers = runtimehandlers.installed()
    chosen = runtimehandlers.default(handlers, _has_resource_capability())
    tables = [f'    default_runtime_name = "{chosen}"']
    for handler in handlers:
        name = f'plugins."io.containerd.grpc.v1.cri".containerd.runtimes."{handler.name}"'
        table = f'    [{name}]\n      runtime_type = "{handler.type}"'
        if handler.program:
            table += f'\n      [{name}.options]\n        BinaryName = "{handler.program}"'
        tables.append(table)
    return "\n".join(tables)


def write_config(place: NodePlace) -> None:
    plugins = next((folder for folder in PLUGINS if Path(folder, "ptp").exists()), PLUGINS[0])
    if place.cluster.has_ipv6:
        own = place.cni / "plugins"
        write_plugins(own, Path(plugins))
        plugins = str(own)
    restrict = "false" if _has_resource_capability() else "true"
    # The default CRI plugin tries to load an AppArmor profile; machines without AppArmor must not
    # be asked.
    apparmor = "false" if Path("/sys/kernel/security/apparmor").exists() else "true"
    place.containerd_config.write_text(f"""version = 2
root = "{place.containerd_root}"
state = "{place.run}/containerd"
oom_score = 0
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.zfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.internal.v1.opt",
]
[grpc]
  address = "{place.socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = {restrict}
  disable_apparmor = {apparmor}
  disable_hugetlb_controller = false
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  max_container_log_line_size = 16384
  enable_cdi = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
{_runtimes()}
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{place.cni}"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{pushing.hosts_folder(place.cluster)}"
""")


def remove_everything(cluster: Cluster) -> None:
    """Ends every container of this cluster and takes away mounts, namespaces and control groups."""
    for place in places(cluster):
        _end_shims(place)
    for root in (cluster.run, cluster.root):
        unmount_below(root)
    for place in places(cluster):
        tear_down(place)
    _forget_addresses(f"tiphys-{cluster.name}")
    shutil.rmtree(cluster.run, ignore_errors=True)
    with contextlib.suppress(OSError):
        cluster.run.parent.rmdir()
    _remove_cgroups(cluster.cgroup)


def remove_node(place: NodePlace) -> None:
    """The same for one node in a sandbox, whose processes have ended, and all that it kept."""
    folders = (place.run, place.data, place.containerd_root)
    _end_shims(place)
    for folder in folders:
        unmount_below(folder)
    tear_down(place)
    _forget_addresses(place.cni_name)
    _remove_cgroups(place.cgroup)
    for folder in (*folders, place.cni, place.pod_logs):
        handles.remove_folder(folder)
    pki = place.cluster.pki
    stems = (place.kubeconfig.stem, f"kubelet{place.suffix}")
    files = [pki / f"{stem}.{kind}" for stem in stems for kind in ("crt", "key")]
    for file in (*files, place.kubeconfig, place.containerd_config):
        file.unlink(missing_ok=True)


def _forget_addresses(network: str) -> None:
    """What CNI's plugins remember of a network's pods."""
    cache = Path("/var/lib/cni/results")
    for file in cache.glob(f"{network}-*") if cache.exists() else ():
        file.unlink(missing_ok=True)


def _processes() -> list[tuple[int, str]]:
    """(pid, command line) of every process of the machine."""
    processes = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
                processes.append((int(entry.name), words.decode(errors="replace")))
    return processes


def _end_shims(place: NodePlace) -> None:
    """Kills what is in the node's control groups, then the shims that watched over it."""
    marker = f"-address {place.socket} "
    for _ in range(50):
        inside = _inside(place.cgroup)
        shims = {
            pid
            for pid, command in _processes()
            if "containerd-shim" in command and marker in command
        }
        for pid in inside | (shims if not inside else set()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)
        if not inside and not shims:
            return
        time.sleep(0.05)


def _inside(cgroup: str) -> set[int]:
    """The processes in a control group and those below it. Groups may go while they are read.

    One of another PID namespace shows as 0, which to `kill` is the caller's process group."""
    inside: set[int] = set()
    for file in _cgroup_folders(cgroup, "cgroup.procs"):
        with contextlib.suppress(OSError):
            inside.update(int(pid) for pid in file.read_text().split())
    return inside - {0}


def _cgroup_folders(cgroup: str, name: str) -> list[Path]:
    root = Path("/sys/fs/cgroup")
    is_unified = (root / "cgroup.controllers").exists()
    hierarchies = [root] if is_unified else [child for child in root.iterdir() if child.is_dir()]
    tops = [hierarchy / cgroup.lstrip("/") for hierarchy in hierarchies]
    # `walk`, unlike `rglob`, does not mind that groups go while it looks.
    walked = (entry for top in tops for entry in os.walk(top))
    return [Path(folder, name) for folder, _, files in walked if name in files]


def _remove_cgroups(cgroup: str) -> None:
    folders = {file.parent for file in _cgroup_folders(cgroup, "cgroup.procs")}
    for folder in sorted(folders, key=lambda f: len(f.parts), reverse=True):
        with contextlib.suppress(OSError):
            folder.rmdir()
