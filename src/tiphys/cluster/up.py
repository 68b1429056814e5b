"""Bringing a cluster up, taking it down, and telling how it is."""

from __future__ import annotations

import contextlib
import datetime
import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from tiphys.cluster import containerd, images, kubeconfig, sandboxes, state
from tiphys.cluster.certificates import Authority, key_pem, new_key, write_private
from tiphys.cluster.sandboxes import NodePlace, places
from tiphys.cluster.state import Cluster, ClusterError
from tiphys.machinery import handles
from tiphys.machinery.finished import is_final

Step = Callable[[str], None]
CRASH_LOOP = 3  # quick deaths in a row
_STEADY = 10.0  # seconds that a component lives before it is believed to stay
_UNSETTLED = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


# --- up ---


def prepare(cluster: Cluster) -> None:
    """Folders, certificates and configuration: everything but processes."""
    try:
        for folder in (cluster.root, cluster.pki, cluster.logs):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        free = shutil.disk_usage(cluster.root).free
    except OSError as error:
        raise ClusterError(
            f"{cluster.root} cannot be used: {error.strerror}; choose another with --data-dir"
        ) from None
    if free < 64 << 20:
        raise ClusterError(
            f"only {free >> 20} MiB are free below {cluster.root}; make room or choose another --data-dir"
        )
    _certificates(cluster)
    for place in places(cluster):
        sandboxes.set_up(place)
        containerd.write_config(place)


def _certificates(cluster: Cluster) -> None:
    pki, authority = cluster.pki, Authority(cluster.pki)
    first = cluster.service_cidr.rsplit(".", 1)[0] + ".1"
    names = (
        "localhost",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        "127.0.0.1",
        first,
        cluster.node_address,
        socket.gethostname().lower(),
    )
    authority.ensure("apiserver", "kube-apiserver", (), names, server=True)
    authority.ensure(
        "apiserver-kubelet-client", "kube-apiserver-kubelet-client", ("system:masters",)
    )
    authority.ensure("admin", "kubernetes-admin", ("system:masters",))
    # What controllers, scheduler and add-ons serve their metrics with.
    authority.ensure("components", "tiphys-components", (), ("localhost", "127.0.0.1"), server=True)
    # An authority of its own: servers behind the API server believe whoever it signs, whatever user they name.
    Authority(pki / "front-proxy").ensure("front-proxy-client", "front-proxy-client")
    rows = [
        ("controllers", "system:kube-controller-manager", ()),
        ("scheduler", "system:kube-scheduler", ()),
        ("addons", "tiphys:addons", ()),
    ]
    if cluster.runtime == "hollow":
        rows.append(("node", "tiphys:hollow-nodes", ()))
    for stem, common, groups in rows:
        _identity(cluster, authority, stem, common, groups)
    if cluster.runtime == "containerd":
        _identity(
            cluster, authority, "network-policy", "tiphys:network-policy", (), cluster.address
        )
    for place in places(cluster):
        user, address = f"system:node:{place.name}", (place.name, place.address, "127.0.0.1")
        _identity(
            cluster,
            authority,
            place.kubeconfig.stem,
            user,
            ("system:nodes",),
            place.cluster.address,
        )
        authority.ensure(f"kubelet{place.suffix}", user, ("system:nodes",), address, server=True)
    if not (pki / "sa.key").exists():
        write_private(pki / "sa.key", key_pem(new_key()))


def _identity(
    cluster: Cluster,
    authority: Authority,
    stem: str,
    common: str,
    groups: tuple[str, ...],
    host: str = "127.0.0.1",
) -> None:
    certificate, key = authority.ensure(stem, common, groups)
    server = f"https://{host}:{cluster.port}"
    kubeconfig.component(
        cluster.pki / f"{stem}.kubeconfig", server, authority.path, certificate, key
    )


def etcd_ports(port: int) -> tuple[int, int]:
    """(client, peer) ports of a cluster's own etcd, apart from those of its neighbours: 16443 and 16444 for 6443."""
    base = port + 10000 if port + 10001 <= 65535 else port - 10000
    return base, base + 1


class MonitoringPorts(NamedTuple):
    """Where the components of a cluster serve their metrics, on 127.0.0.1."""

    controllers: int
    scheduler: int
    addons: int


def monitoring_ports(port: int) -> MonitoringPorts:
    """Upstream's for a cluster at 6443; for its neighbours on the machine those after etcd's."""
    first = port + 10002 if port + 10004 <= 65535 else port - 9998
    if port == 6443:
        return MonitoringPorts(10257, 10259, first)
    return MonitoringPorts(first, first + 1, first + 2)


def _monitoring_flags(cluster: Cluster, port: int) -> list[str]:
    return [
        "--secure-port",
        str(port),
        "--tls-cert-file",
        str(cluster.pki / "components.crt"),
        "--tls-private-key-file",
        str(cluster.pki / "components.key"),
        "--client-ca-file",
        str(cluster.pki / "ca.crt"),
    ]


def components(cluster: Cluster) -> list[dict[str, Any]]:
    """The processes of a cluster, in the order of their start."""
    pki, me = cluster.pki, [sys.executable, "-m", "tiphys.cli.main"]
    rows: list[dict[str, Any]] = []
    ports = monitoring_ports(cluster.port)
    store = cluster.store
    if store == "etcd":
        client, peer = (f"http://127.0.0.1:{port}" for port in etcd_ports(cluster.port))
        command = [
            "etcd",
            "--data-dir",
            str(cluster.root / "etcd"),
            "--listen-client-urls",
            client,
            "--advertise-client-urls",
            client,
            "--listen-peer-urls",
            peer,
            "--initial-advertise-peer-urls",
            peer,
            "--initial-cluster",
            f"default={peer}",
            "--log-level",
            "warn",
            "--unsafe-no-fsync=false",
        ]
        rows.append(
            {
                "name": "etcd",
                "command": [c for c in command if "unsafe" not in c],
                "address": client,
            }
        )
        store = client
    tls = [
        word
        for pair in zip(("--etcd-ca", "--etcd-cert", "--etcd-key"), cluster.etcd_tls, strict=False)
        for word in pair
    ]
    rows.append(
        {
            "name": "apiserver",
            "address": cluster.server,
            "command": [
                *me,
                "apiserver",
                "--pki",
                str(pki),
                "--data-dir",
                str(cluster.root),
                "--port",
                str(cluster.port),
                "--address",
                cluster.address,
                "--store",
                store,
                "--service-cidr",
                cluster.service_cidr,
                *tls,
            ],
        }
    )
    for place in places(cluster):
        rows.append(
            {
                "name": f"containerd{place.suffix}",
                "address": str(place.socket),
                "command": place.inside(
                    "containerd", "--config", str(place.containerd_config), "--log-level", "warn"
                ),
                # The garbage collector of Go gives memory back sooner for a little more work.
                "env": {"GOGC": "50"},
            }
        )
    profiles = ["--scheduler-config", cluster.scheduler_config] if cluster.scheduler_config else []
    rows.append(
        {
            "name": "controllers",
            "address": f"https://127.0.0.1:{ports.controllers}",
            "command": [
                *me,
                "controllers",
                "--kubeconfig",
                str(pki / "controllers.kubeconfig"),
                "--scheduler-kubeconfig",
                str(pki / "scheduler.kubeconfig"),
                "--ca",
                str(pki / "ca.crt"),
                "--ca-key",
                str(pki / "ca.key"),
                "--leader-elect=false",
                *_monitoring_flags(cluster, ports.controllers),
                "--scheduler-secure-port",
                str(ports.scheduler),
                *profiles,
            ],
        }
    )
    if cluster.runtime == "hollow":
        rows.append(
            {
                "name": "node",
                "address": "",
                "command": [
                    *me,
                    "node",
                    "--kubeconfig",
                    str(pki / "node.kubeconfig"),
                    "--runtime",
                    "hollow",
                    "--data-dir",
                    str(cluster.root / "node"),
                    "--nodes",
                    str(cluster.nodes),
                ],
            }
        )
    for place in places(cluster):
        command = place.inside(*me, "node", *_node_flags(place))
        rows.append({"name": f"node{place.suffix}", "address": place.address, "command": command})
    if cluster.addons:
        rows.append(
            {
                "name": "addons",
                "address": f"https://127.0.0.1:{ports.addons}",
                "command": [
                    *me,
                    "addons",
                    "--kubeconfig",
                    str(pki / "addons.kubeconfig"),
                    "--data-dir",
                    str(cluster.root / "addons"),
                    *_monitoring_flags(cluster, ports.addons),
                ],
            }
        )
    return rows


def _node_flags(place: NodePlace) -> list[str]:
    cluster = place.cluster
    return [
        "--kubeconfig",
        str(place.kubeconfig),
        "--runtime",
        "containerd",
        "--data-dir",
        str(place.data),
        "--name",
        place.name,
        "--ca",
        str(cluster.pki / "ca.crt"),
        "--certificate",
        str(cluster.pki / f"kubelet{place.suffix}.crt"),
        "--key",
        str(cluster.pki / f"kubelet{place.suffix}.key"),
        "--address",
        place.address,
        "--socket",
        str(place.socket),
        "--logs",
        str(place.pod_logs),
        "--cgroup",
        place.cgroup,
        "--pod-cidr",
        place.pod_cidr,
        "--cluster-cidr",
        ",".join(other.pod_cidr for other in places(cluster)),
        "--service-cidr",
        cluster.service_cidr,
        "--dns",
        cluster.dns_address,
        "--table",
        cluster.table,
        "--policy-kubeconfig",
        str(cluster.pki / "network-policy.kubeconfig"),
        # The machine's own name server may listen on its loopback: a sandbox asks the machine's DNS server instead.
        *(["--forward-dns", cluster.node_address] if place.index else []),
    ]


def _write_plan(cluster: Cluster) -> Path:
    plan = cluster.root / "components.json"
    temporary = plan.with_suffix(".new")
    temporary.write_text(json.dumps({"components": components(cluster)}))
    temporary.rename(plan)
    return plan


def reload(cluster: Cluster) -> None:
    """Has the supervisor start and end components as the cluster now says. Raises ClusterError when it is down."""
    pid = read_status(cluster)["supervisor"]
    if pid is None or not _alive(pid):
        raise ClusterError(
            f"cluster {cluster.name} is down; start it with: tiphys up --name {cluster.name}"
        )
    _write_plan(cluster)
    os.kill(pid, signal.SIGHUP)


def start(cluster: Cluster) -> None:
    """Starts the supervisor, which starts the rest."""
    plan = _write_plan(cluster)
    cluster.status_file.unlink(missing_ok=True)
    with open(cluster.logs / "supervisor.log", "ab") as out:
        supervisor = subprocess.Popen(
            [sys.executable, "-m", "tiphys.cluster.supervisor", str(plan)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    # The supervisor writes this file as soon as it can. Until then, `down` must find it all the same.
    with contextlib.suppress(FileExistsError), open(cluster.status_file, "x") as status_file:
        json.dump({"supervisor": supervisor.pid, "components": []}, status_file)


def load_pause(cluster: Cluster) -> None:
    """The image that holds a pod's namespaces, once containerd answers."""
    path = cluster.root / "pause.tar"
    images.build(path, images.PAUSE, {"pause": images.pause_program()}, ["/pause"])
    deadline = time.monotonic() + 30
    while True:
        with contextlib.suppress(ClusterError):
            if all(place.socket.exists() for place in places(cluster)):
                images.load(cluster, path)
                return
        if time.monotonic() > deadline:
            raise ClusterError(f"containerd did not start; see {cluster.logs / 'containerd.log'}")
        for place in places(cluster):
            _check_alive(cluster, f"containerd{place.suffix}")
        time.sleep(0.03)


def wait_ready(cluster: Cluster, seconds: float = 60.0) -> None:
    """Until /readyz says ok."""
    deadline = time.monotonic() + seconds
    while not is_ready(cluster):
        if time.monotonic() > deadline:
            raise ClusterError(
                f"the API server did not become ready in {seconds:g} s; see {cluster.logs / 'apiserver.log'}"
            )
        _check_alive(cluster, "apiserver")
        time.sleep(0.02)


def _check_alive(cluster: Cluster, name: str) -> None:
    row = next((row for row in read_status(cluster)["components"] if row["name"] == name), None)
    if row is None or row.get("failures", 0) < CRASH_LOOP:
        return
    log = cluster.logs / f"{name}.log"
    last_line = log.read_text(errors="replace").strip().splitlines()[-1:]
    raise ClusterError(
        f"{name} is in a crash loop: {last_line[0] if last_line else 'no output'}; see {log}"
    )


def request(cluster: Cluster, path: str, timeout: float = 5.0) -> tuple[int, bytes]:
    """(status, body) of a GET as the cluster's administrator."""
    pki = cluster.pki
    context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
    context.load_cert_chain(pki / "admin.crt", pki / "admin.key")
    connection = http.client.HTTPSConnection(
        "127.0.0.1", cluster.port, context=context, timeout=timeout
    )
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def is_ready(cluster: Cluster) -> bool:
    try:
        return request(cluster, "/readyz", 1.0)[0] == 200
    except (OSError, http.client.HTTPException):
        return False


def _items(cluster: Cluster, path: str) -> list[dict[str, Any]]:
    try:
        code, body = request(cluster, path)
    except (OSError, http.client.HTTPException):
        return []
    return list(json.loads(body)["items"]) if code == 200 else []


def nodes_ready(cluster: Cluster) -> tuple[int, int]:
    """(ready, all) nodes. What a node said before its agent started last does not count."""
    nodes = _items(cluster, "/api/v1/nodes")
    since = _started(cluster, "node")
    return sum(is_node_ready(node, since) for node in nodes), len(nodes)


def is_node_ready(node: dict[str, Any], since: float) -> bool:
    """`since`: seconds since the epoch; an older heartbeat is from an earlier life."""
    # One that has just become ready takes no pods until the controllers have seen it, too.
    if any(taint["key"] in _UNSETTLED for taint in node["spec"].get("taints", ())):
        return False
    conditions = node["status"].get("conditions", ())
    ready = next((one for one in conditions if one["type"] == "Ready"), None)
    if ready is None or ready["status"] != "True":
        return False
    return seconds(ready.get("lastHeartbeatTime")) >= int(since)


def _started(cluster: Cluster, prefix: str) -> float:
    """When the last of the components with this prefix was started, in seconds since the epoch."""
    rows = read_status(cluster)["components"]
    return max((row["started"] for row in rows if row["name"].startswith(prefix)), default=0.0)


def wait_nodes(cluster: Cluster, timeout: float = 60.0) -> None:
    """Until all nodes are ready."""
    deadline = time.monotonic() + timeout
    agents = ["node", *(f"node{place.suffix}" for place in places(cluster))]
    while nodes_ready(cluster)[0] < cluster.nodes:
        if time.monotonic() > deadline:
            raise ClusterError(
                f"not all nodes became ready in {timeout:g} s; see {cluster.logs / 'node.log'}"
            )
        for agent in agents:
            _check_alive(cluster, agent)
        time.sleep(0.05)


def wait_pods(cluster: Cluster, timeout: float = 60.0) -> list[str]:
    """Until the pods that were there before run again. Returns those that do not after `timeout` seconds."""
    since = _started(cluster, "containerd")
    deadline = time.monotonic() + timeout
    while True:
        pods = _items(cluster, "/api/v1/pods")
        pending = [
            f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
            for pod in pods
            if is_awaited(pod, since)
        ]
        if not pending or time.monotonic() > deadline:
            return pending
        time.sleep(0.1)


# A container that waits for one of these may never run; nobody should wait for it.
_HOPELESS = (
    "CrashLoopBackOff",
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
)


def is_awaited(pod: dict[str, Any], since: float) -> bool:
    """Whether a pod of a node is about to run. `since`: when the runtime started, in seconds since the epoch; what was said
    of containers before is no longer true."""
    status = pod["status"]
    if not pod["spec"].get("nodeName") or pod["metadata"].get("deletionTimestamp"):
        return False
    if is_final(status.get("phase", "")):
        return False
    for container in status.get("containerStatuses", ()):
        state = container.get("state", {})
        if state.get("waiting", {}).get("reason") in _HOPELESS:
            return False
        if "running" in state and seconds(state["running"].get("startedAt")) < int(since):
            return True
    conditions = {one["type"]: one["status"] for one in status.get("conditions", ())}
    return conditions.get("Ready") != "True"


def seconds(timestamp: str | None) -> float:
    """Seconds since the epoch of a timestamp as the API writes it; 0 for none."""
    return datetime.datetime.fromisoformat(timestamp).timestamp() if timestamp else 0.0


# --- status ---


def read_status(cluster: Cluster) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(cluster.status_file.read_text())
        return found
    except (OSError, ValueError):
        return {"supervisor": None, "components": []}


def is_running(cluster: Cluster) -> bool:
    pid = read_status(cluster)["supervisor"]
    return pid is not None and _alive(pid)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def memory_of(pid: int | None) -> int:
    """Bytes that a process would give back if it ended (its proportional share of what is shared)."""
    with contextlib.suppress(OSError, TypeError, ValueError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def health(row: dict[str, Any], now: float) -> str:
    """How a component is, in a few words. `row` is from the supervisor's file, `now` in seconds since the epoch."""
    alive = row["pid"] is not None and _alive(row["pid"])
    if row.get("failures", 0) >= CRASH_LOOP and (not alive or now - row["started"] < _STEADY):
        return f"crash loop (exit {row['last_exit']})"
    return "ok" if alive else f"restarting (exit {row['last_exit']})"


def status(cluster: Cluster) -> dict[str, Any]:
    found, rows = read_status(cluster), []
    up = is_running(cluster)
    for row in found["components"] if up else ():
        words = health(row, time.time())
        if words == "ok" and row["name"] == "apiserver" and not is_ready(cluster):
            words = "starting"
        rows.append({**row, "health": words, "memory": memory_of(row["pid"])})
    ready = nodes_ready(cluster) if up and is_ready(cluster) else (0, 0)
    return {
        "name": cluster.name,
        "running": up,
        "server": cluster.server,
        "runtime": cluster.runtime,
        "store": cluster.store,
        "dataDir": cluster.data_dir,
        "kubeconfig": str(kubeconfig.user_file()),
        "context": cluster.name,
        "nodesReady": ready[0],
        "nodes": ready[1],
        "components": rows,
        "supervisor": found["supervisor"] if up else None,
    }


# --- down ---


def down(cluster: Cluster, purge: bool) -> str | None:
    """Ends everything and takes away every trace; the data stays unless `purge`. Returns kubectl's current context when it
    had to become another one."""
    pid = read_status(cluster)["supervisor"]
    if pid is not None and _alive(pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + 60
        while _alive(pid) and time.monotonic() < deadline:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
            time.sleep(0.02)
    if cluster.runtime == "containerd":
        from tiphys.network.nft import NftError, nft
        from tiphys.network.policy.enforcer import table_name

        containerd.remove_everything(cluster)
        for table in (cluster.table, table_name(cluster.table)):
            with contextlib.suppress(NftError, FileNotFoundError):
                nft(f"delete table ip {table}\n")
    context = None
    with contextlib.suppress(ClusterError):
        context = kubeconfig.remove(cluster)
    if purge:
        with contextlib.suppress(
            OSError
        ):  # containers may have left what shutil does not get through
            handles.remove_folder(cluster.root)
        state.forget(cluster)
    return context
