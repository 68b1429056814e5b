"""What a user does with kubectl, on real containers."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import EXAMPLE, Machine
from tiphys.testing.cluster import free_port

IMAGE = "tiphys.local/hello:1"


def run_pod(machine: Machine, name: str, script: str, **spec: Any) -> None:
    """A pod of one container `c` that runs a shell script."""
    container = {
        "name": "c",
        "image": IMAGE,
        "command": ["sh", "-c", script],
        **spec.pop("container", {}),
    }
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": spec.pop("labels", {})},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [container], **spec},
    }
    machine.kubectl("apply", "-f", "-", stdin=json.dumps(body))


def phase(machine: Machine, name: str) -> str:
    return str(machine.get(f"pod/{name}")["status"]["phase"])


def running(machine: Machine, name: str) -> None:
    machine.kubectl("wait", f"pod/{name}", "--for=condition=Ready", "--timeout=40s")


def gone(machine: Machine, *names: str) -> None:
    machine.kubectl("delete", "pod", *names, "--timeout=40s")


def test_the_hello_example_is_served(machine: Machine) -> None:
    machine.kubectl("apply", "-f", str(EXAMPLE / "hello.yaml"))
    machine.kubectl("rollout", "status", "deploy/hello", "--timeout=60s")
    assert "unchanged" in machine.kubectl("apply", "-f", str(EXAMPLE / "hello.yaml"))
    address, seen = machine.get("service/hello")["spec"]["clusterIP"], set()
    deadline = time.monotonic() + 20
    while len(seen) < 3 and time.monotonic() < deadline:
        with urllib.request.urlopen(f"http://{address}/", timeout=5) as answer:
            seen.add(answer.read())
    assert len(seen) == 3
    assert "Hello from Tiphys" in machine.kubectl(
        "exec", "deploy/hello", "--", "wget", "-qO-", "http://hello.default.svc.cluster.local/"
    )
    port = free_port()
    forward = subprocess.Popen(
        ["kubectl", "port-forward", "service/hello", f"{port}:80"],
        env=machine.env,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert forward.stdout and "Forwarding from" in forward.stdout.readline()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
            assert b"Hello from Tiphys" in answer.read()
    finally:
        forward.terminate()
        forward.wait()


def test_a_bad_image_is_told_and_undone(machine: Machine) -> None:
    machine.kubectl("apply", "-f", str(EXAMPLE / "hello.yaml"))
    machine.kubectl("set", "image", "deploy/hello", "web=tiphys.local/none:1")

    def told() -> bool:
        return any(
            word in machine.kubectl("get", "pods", "-l", "app=hello")
            for word in ("ErrImagePull", "ImagePullBackOff")
        )

    machine.eventually(told)
    machine.kubectl("rollout", "undo", "deploy/hello")
    machine.kubectl("rollout", "status", "deploy/hello", "--timeout=60s")


def test_the_python_client_writes_to_a_command(machine: Machine) -> None:
    """It writes text frames, where kubectl writes binary ones."""
    from kubernetes import config, stream
    from kubernetes.client import CoreV1Api

    run_pod(machine, "listener", "exec sleep 3600")
    machine.kubectl("wait", "--for=condition=Ready", "pod/listener", "--timeout=60s")
    api = CoreV1Api(config.new_client_from_config(machine.env["KUBECONFIG"]))
    wants = {"stdin": True, "stdout": True, "stderr": True, "tty": False, "_preload_content": False}
    cat = stream.stream(
        api.connect_get_namespaced_pod_exec, "listener", "default", command=["cat"], **wants
    )
    cat.write_stdin("through\n")
    assert cat.readline_stdout(timeout=20) == "through"
    cat.close()


def test_exec_logs_cp_and_a_closed_stdin(machine: Machine, tmp_path: Path) -> None:
    run_pod(machine, "shell", "echo first; sleep 0.3; echo second >&2; exec sleep 3600")
    running(machine, "shell")
    assert machine.kubectl("exec", "shell", "--", "echo", "hi") == "hi\n"
    assert machine.kubectl("exec", "-i", "shell", "--", "cat", stdin="through\n") == "through\n"
    assert "command terminated with exit code 7" in machine.kubectl(
        "exec", "shell", "--", "sh", "-c", "exit 7", check=False
    )
    machine.eventually(lambda: machine.kubectl("logs", "shell") == "first\nsecond\n")
    assert machine.kubectl("logs", "shell", "--tail=1") == "second\n"
    payload = os.urandom(300_000)
    (tmp_path / "up").write_bytes(payload)
    machine.kubectl("cp", str(tmp_path / "up"), "shell:/tmp/file")
    machine.kubectl("cp", "shell:/tmp/file", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == payload
    gone(machine, "shell")


def test_logs_follow_until_the_container_ends(machine: Machine) -> None:
    run_pod(
        machine, "talker", "for i in 1 2 3; do echo line $i; sleep 0.3; done", restartPolicy="Never"
    )
    machine.eventually(lambda: phase(machine, "talker") != "Pending")
    assert machine.kubectl("logs", "-f", "talker") == "line 1\nline 2\nline 3\n"
    machine.eventually(lambda: phase(machine, "talker") == "Succeeded")
    gone(machine, "talker")


def test_run_with_a_result(machine: Machine) -> None:
    said = machine.kubectl(
        "run",
        "once",
        f"--image={IMAGE}",
        "--restart=Never",
        "--rm",
        "-i",
        "--quiet",
        "--command",
        "--",
        "sh",
        "-c",
        "cat; echo done",
        stdin="in\n",
    )
    assert "in\ndone\n" in said


def test_configuration_reaches_the_container(machine: Machine) -> None:
    machine.kubectl(
        "create", "configmap", "settings", "--from-literal=color=red", "--from-literal=size=9"
    )
    machine.kubectl("create", "secret", "generic", "keys", "--from-literal=token=s3cret")
    env = [
        {"name": "COLOR", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "color"}}},
        {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "token"}}},
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {
            "name": "LIMIT",
            "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}},
        },
        {"name": "BOTH", "value": "$(COLOR)-$(TOKEN)"},
    ]
    mounts = [{"name": n, "mountPath": f"/v/{n}"} for n in ("config", "secret", "meta", "scratch")]
    volumes = [
        {
            "name": "config",
            "configMap": {"name": "settings", "items": [{"key": "size", "path": "deep/size"}]},
        },
        {"name": "secret", "secret": {"secretName": "keys", "defaultMode": 0o400}},
        {
            "name": "meta",
            "downwardAPI": {
                "items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]
            },
        },
        {"name": "scratch", "emptyDir": {"medium": "Memory"}},
    ]
    container = {
        "env": env,
        "envFrom": [{"prefix": "CM_", "configMapRef": {"name": "settings"}}],
        "volumeMounts": mounts,
        "resources": {"limits": {"memory": "64Mi"}},
    }
    run_pod(
        machine,
        "configured",
        "exec sleep 3600",
        container=container,
        volumes=volumes,
        labels={"who": "me"},
    )
    running(machine, "configured")
    said = machine.kubectl(
        "exec",
        "configured",
        "--",
        "sh",
        "-c",
        "env; cat /v/config/deep/size /v/secret/token /v/meta/labels; mount | grep scratch; cat /var/run/secrets/kubernetes.io/serviceaccount/namespace",
    )
    ip = machine.get("pod/configured")["status"]["podIP"]
    for expected in (
        "COLOR=red",
        "TOKEN=s3cret",
        f"IP={ip}",
        "LIMIT=64",
        "BOTH=red-s3cret",
        "CM_size=9",
        "9s3cret",
        'who="me"',
        "tmpfs on /v/scratch",
        "default",
        "KUBERNETES_SERVICE_HOST=",
    ):
        assert expected in said, expected
    gone(machine, "configured")


def test_a_pods_token_is_its_service_account_at_the_apis_own_service(machine: Machine) -> None:
    run_pod(machine, "caller", "exec sleep 3600")
    running(machine, "caller")
    token = machine.kubectl(
        "exec", "caller", "--", "cat", "/var/run/secrets/kubernetes.io/serviceaccount/token"
    )
    address = machine.get("service/kubernetes")["spec"]["clusterIP"]
    asked = urllib.request.Request(
        f"https://{address}/api/v1/pods", headers={"Authorization": f"Bearer {token}"}
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(asked, timeout=10, context=ssl._create_unverified_context())
    assert (
        refused.value.code == 403
        and b"system:serviceaccount:default:default" in refused.value.read()
    )
    gone(machine, "caller")


def test_probes_restart_and_hold_back(machine: Machine) -> None:
    probes = {
        "livenessProbe": {
            "exec": {"command": ["test", "!", "-e", "/tmp/sick"]},
            "periodSeconds": 1,
            "failureThreshold": 1,
        },
        "readinessProbe": {"exec": {"command": ["test", "-e", "/tmp/ready"]}, "periodSeconds": 1},
    }
    run_pod(machine, "probed", "exec sleep 3600", container=probes)
    machine.eventually(lambda: phase(machine, "probed") == "Running")
    assert "0/1" in machine.kubectl("get", "pod", "probed")
    machine.kubectl("exec", "probed", "--", "touch", "/tmp/ready")
    running(machine, "probed")
    machine.kubectl("exec", "probed", "--", "touch", "/tmp/sick")
    machine.eventually(
        lambda: machine.get("pod/probed")["status"]["containerStatuses"][0]["restartCount"] >= 1
    )
    gone(machine, "probed")


def test_init_containers_crash_loops_and_termination_messages(machine: Machine) -> None:
    init = [
        {
            "name": "first",
            "image": IMAGE,
            "command": ["sh", "-c", "echo from-init > /shared/file"],
            "volumeMounts": [{"name": "s", "mountPath": "/shared"}],
        }
    ]
    run_pod(
        machine,
        "staged",
        "cat /shared/file > /dev/termination-log; exit 3",
        initContainers=init,
        restartPolicy="Never",
        container={"volumeMounts": [{"name": "s", "mountPath": "/shared"}]},
        volumes=[{"name": "s", "emptyDir": {}}],
    )
    machine.eventually(lambda: phase(machine, "staged") == "Failed")
    ended = machine.get("pod/staged")["status"]["containerStatuses"][0]["state"]["terminated"]
    assert (ended["exitCode"], ended["message"], ended["reason"]) == (3, "from-init\n", "Error")
    run_pod(machine, "crashing", "exit 1")
    machine.eventually(lambda: "CrashLoopBackOff" in machine.kubectl("get", "pod", "crashing"))
    machine.eventually(
        lambda: (
            "Back-off restarting failed container c in pod crashing_"
            in machine.kubectl("get", "events")
        )
    )
    gone(machine, "staged", "crashing")


def test_hooks_and_grace(machine: Machine) -> None:
    folder = f"/tmp/tiphys-hooks-{os.getpid()}"
    hooks = {
        "lifecycle": {
            "postStart": {"exec": {"command": ["touch", "/host/started"]}},
            "preStop": {"exec": {"command": ["touch", "/host/stopping"]}},
        },
        "volumeMounts": [{"name": "host", "mountPath": "/host"}],
    }
    volumes = [{"name": "host", "hostPath": {"path": folder, "type": "DirectoryOrCreate"}}]
    run_pod(
        machine,
        "hooked",
        "trap 'touch /host/term; exit 0' TERM; while true; do sleep 0.1; done",
        container=hooks,
        volumes=volumes,
        terminationGracePeriodSeconds=10,
    )
    running(machine, "hooked")
    began = time.monotonic()
    gone(machine, "hooked")
    assert time.monotonic() - began < 8
    assert sorted(os.listdir(folder)) == ["started", "stopping", "term"]


def test_services_of_every_kind_are_reached(machine: Machine) -> None:
    run_pod(
        machine,
        "web",
        "echo page > /www/index.html; exec httpd -f -p 8080 -h /www",
        labels={"app": "web"},
    )
    running(machine, "web")
    machine.kubectl("expose", "pod", "web", "--name=plain", "--port=80", "--target-port=8080")
    machine.kubectl(
        "expose", "pod", "web", "--name=noded", "--port=80", "--target-port=8080", "--type=NodePort"
    )
    machine.kubectl("create", "service", "clusterip", "empty", "--tcp=80:80")
    run_pod(machine, "visitor", "exec sleep 3600")
    running(machine, "visitor")

    def fetch(url: str) -> str:
        return machine.kubectl("exec", "visitor", "--", "wget", "-qO-", url, check=False)

    machine.eventually(lambda: fetch("http://plain/") == "page\n")
    node = machine.get("nodes")["items"][0]["status"]["addresses"][0]["address"]
    port = machine.get("service/noded")["spec"]["ports"][0]["nodePort"]
    assert fetch(f"http://{node}:{port}/") == "page\n"
    assert machine.kubectl("exec", "web", "--", "wget", "-qO-", "http://plain/") == "page\n", (
        "a pod reaches itself through its service"
    )
    machine.eventually(lambda: "refused" in fetch("http://empty/"))
    machine.kubectl("delete", "service", "plain", "noded", "empty")
    gone(machine, "web", "visitor")


def test_host_ports_lead_to_their_pods_from_loopback_addresses_too(machine: Machine) -> None:
    port, node = free_port(), machine.get("nodes")["items"][0]
    address = node["status"]["addresses"][0]["address"]
    for name, told in (("anywhere", {}), ("loopback", {"hostIP": "127.0.0.1"})):
        script = f"mkdir w; echo {name} > w/index.html; httpd -f -p 8080 -h w"
        ports = [{"containerPort": 8080, "hostPort": port + (name == "loopback"), **told}]
        container = {"ports": ports, "readinessProbe": {"tcpSocket": {"port": 8080}}}
        run_pod(machine, name, script, container=container, nodeName=node["metadata"]["name"])
    running(machine, "anywhere")
    running(machine, "loopback")

    def fetch(host: str, at: int) -> str:
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"http://{host}:{at}/", timeout=5) as answer,
        ):
            return str(answer.read().decode().strip())
        return ""

    machine.eventually(lambda: fetch("127.0.0.1", port) == "anywhere")
    machine.eventually(lambda: fetch("127.0.0.1", port + 1) == "loopback")
    assert fetch(address, port) == "anywhere" and fetch(address, port + 1) == ""
    assert (
        machine.kubectl("exec", "anywhere", "--", "wget", "-qO-", f"http://{address}:{port}/")
        == "anywhere\n"
    )
    gone(machine, "anywhere", "loopback")
    machine.eventually(lambda: fetch("127.0.0.1", port) == "")


def test_a_container_is_resized_while_it_runs(machine: Machine) -> None:
    sizes = {
        "requests": {"cpu": "100m", "memory": "20Mi"},
        "limits": {"cpu": "200m", "memory": "40Mi"},
    }
    policy = [{"resourceName": "memory", "restartPolicy": "RestartContainer"}]
    run_pod(
        machine,
        "growing",
        "exec sleep 3600",
        container={"resources": sizes, "resizePolicy": policy},
    )
    running(machine, "growing")
    [before] = machine.get("pod/growing")["status"]["containerStatuses"]
    assert before["resources"] == sizes and before["allocatedResources"] == sizes["requests"]

    def resize(**limits: str) -> None:
        body = {"spec": {"containers": [{"name": "c", "resources": {"limits": limits}}]}}
        machine.kubectl("patch", "pod", "growing", "--subresource=resize", "-p", json.dumps(body))

    def shown(name: str, value: str, restarts: int) -> bool:
        [status] = machine.get("pod/growing")["status"]["containerStatuses"]
        return (
            status["resources"]["limits"][name] == value
            and status["restartCount"] == restarts
            and status["ready"]
        )

    def held(v1: str, v2: str) -> str:
        """What the control group of the container says."""
        script = f"cat /sys/fs/cgroup/{v2} 2>/dev/null || cat /sys/fs/cgroup/{v1}"
        return machine.kubectl("exec", "growing", "--", "sh", "-c", script).split()[0]

    assert held("cpu/cpu.cfs_quota_us", "cpu.max") == "20000"
    resize(cpu="300m")
    machine.eventually(lambda: shown("cpu", "300m", 0))
    [after] = machine.get("pod/growing")["status"]["containerStatuses"]
    assert (
        held("cpu/cpu.cfs_quota_us", "cpu.max") == "30000"
        and after["containerID"] == before["containerID"]
    )
    resize(memory="50Mi")
    machine.eventually(lambda: shown("memory", "50Mi", 1))
    assert held("memory/memory.limit_in_bytes", "memory.max") == str(50 << 20)
    assert not [
        c
        for c in machine.get("pod/growing")["status"]["conditions"]
        if c["type"].startswith("PodResize")
    ]
    gone(machine, "growing")


def test_a_debugger_joins_a_running_pod(machine: Machine) -> None:
    run_pod(machine, "patient", "exec sleep 3600")
    running(machine, "patient")
    machine.kubectl(
        "debug",
        "patient",
        f"--image={IMAGE}",
        "--container=doctor",
        "--target=c",
        "--",
        "sleep",
        "3600",
    )
    status = machine.eventually(
        lambda: machine.get("pod/patient")["status"].get("ephemeralContainerStatuses")
    )
    assert [one["name"] for one in status] == ["doctor"]
    seen = machine.eventually(
        lambda: (
            machine.kubectl("exec", "patient", "-c", "doctor", "--", "ps", check=False)
            if _runs(machine)
            else ""
        )
    )
    assert "sleep 3600" in seen
    gone(machine, "patient")


def _runs(machine: Machine) -> bool:
    [status] = machine.get("pod/patient")["status"]["ephemeralContainerStatuses"]
    return "running" in status["state"]


def test_an_agent_that_dies_finds_its_pods_running(machine: Machine) -> None:
    run_pod(machine, "steady", "date +%s%N > /tmp/born; exec sleep 3600")
    running(machine, "steady")
    before = machine.get("pod/steady")["status"]["containerStatuses"][0]
    pid = next(c["pid"] for c in machine.status()["components"] if c["name"] == "node")
    os.kill(pid, signal.SIGKILL)
    machine.eventually(
        lambda: next(
            (
                c
                for c in machine.status()["components"]
                if c["name"] == "node" and c["restarts"] and c["health"] == "ok"
            ),
            None,
        )
    )
    machine.eventually(
        lambda: machine.kubectl("exec", "steady", "--", "echo", "back", check=False) == "back\n"
    )
    after = machine.get("pod/steady")["status"]["containerStatuses"][0]
    assert (after["containerID"], after["restartCount"]) == (before["containerID"], 0)
    gone(machine, "steady")


def test_the_public_python_client(machine: Machine) -> None:
    """`kubernetes` from PyPI: create, watch, exec, delete."""
    kubernetes = pytest.importorskip("kubernetes")
    from kubernetes.stream import stream

    api = kubernetes.client.CoreV1Api(
        kubernetes.config.new_client_from_config(machine.env["KUBECONFIG"])
    )
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "py"},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "c", "image": IMAGE, "command": ["sleep", "3600"]}],
        },
    }
    api.create_namespaced_pod("default", body)
    for event in kubernetes.watch.Watch().stream(
        api.list_namespaced_pod, "default", field_selector="metadata.name=py", timeout_seconds=40
    ):
        if event["object"].status.phase == "Running":
            break
    said = stream(
        api.connect_get_namespaced_pod_exec,
        "py",
        "default",
        command=["echo", "hello"],
        stderr=True,
        stdin=False,
        stdout=True,
        tty=False,
    )
    assert said == "hello\n"
    apps = kubernetes.client.AppsV1Api(api.api_client)
    assert any(d.metadata.name == "hello" for d in apps.list_namespaced_deployment("default").items)
    api.delete_namespaced_pod("py", "default")


def test_down_leaves_no_trace(tmp_path: Path) -> None:
    """A second cluster beside the first: its own names and ports, and nothing left of it."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    beside = Machine(tmp_path, "beside")
    beside.tiphys(
        "up",
        "--name",
        "beside",
        "--data-dir",
        str(tmp_path / "data"),
        "--port",
        str(free_port()),
        "--runtime",
        "hollow",
        "--nodes",
        "3",
        "--wait",
    )
    assert beside.status()["nodesReady"] == 3
    beside.kubectl("create", "deployment", "web", "--image=x", "--replicas=3")
    beside.kubectl("rollout", "status", "deploy/web", "--timeout=30s")
    pids = [c["pid"] for c in beside.status()["components"]]
    beside.tiphys("down", "--name", "beside", "--purge")
    assert (
        not (tmp_path / "data").exists() and "beside" not in (tmp_path / "kubeconfig").read_text()
    )
    assert not [pid for pid in pids if _command(pid)]


def _command(pid: int) -> bytes:
    """Empty for a process that is gone or only waits to be reaped."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def test_pods_of_two_nodes_reach_each_other_and_services(machine: Machine) -> None:
    nodes = [node["metadata"]["name"] for node in machine.get("nodes")["items"]]
    assert len(nodes) == 2
    for number, node in enumerate(nodes):
        serve = f"echo page of {number} > /tmp/index.html; httpd -f -p 8080 -h /tmp"
        run_pod(machine, f"on-{number}", serve, nodeName=node, labels={"two": "nodes"})
    machine.kubectl("expose", "pod", "on-0", "--name=across", "--port=80", "--target-port=8080")
    running(machine, "on-0")
    running(machine, "on-1")
    for here, there in ((0, 1), (1, 0)):
        address = machine.get(f"pod/on-{there}")["status"]["podIP"]
        said = machine.kubectl(
            "exec", f"on-{here}", "--", "wget", "-qO-", f"http://{address}:8080/"
        )
        assert said.strip() == f"page of {there}"
    machine.kubectl("patch", "service", "across", "-p", '{"spec":{"selector":{"two":"nodes"}}}')
    everywhere = {"page of 0", "page of 1"}
    for here in (0, 1):
        seen: set[str] = set()

        def both(here: int = here, seen: set[str] = seen) -> bool:
            seen.add(
                machine.kubectl(
                    "exec", f"on-{here}", "--", "wget", "-qO-", "http://across/"
                ).strip()
            )
            return seen >= everywhere

        machine.eventually(both)
    machine.kubectl("delete", "service", "across")
    gone(machine, "on-0", "on-1")


def test_volumes_made_of_objects_are_read_only_and_part_of_one_is_too(machine: Machine) -> None:
    machine.kubectl("create", "configmap", "fixed", "--from-literal=key=value")
    volumes = [
        {"name": "config", "configMap": {"name": "fixed"}},
        {
            "name": "meta",
            "downwardAPI": {"items": [{"path": "x", "fieldRef": {"fieldPath": "metadata.name"}}]},
        },
        {"name": "both", "projected": {"sources": [{"configMap": {"name": "fixed"}}]}},
        {"name": "scratch", "emptyDir": {}},
    ]
    mounts = [{"name": v["name"], "mountPath": f"/v/{v['name']}"} for v in volumes]
    mounts.append({"name": "config", "mountPath": "/v/part", "subPath": "key"})
    mounts.append({"name": "scratch", "mountPath": "/v/meta/below"})
    mounts.append({"name": "scratch", "mountPath": "/v/made", "subPathExpr": "a/$(HOSTNAME)"})
    script = "exec 2>&1; for f in config/n meta/n both/n part scratch/n made/n; do touch /v/$f && echo $f; done; cat /v/part"
    script += "; rm /v/config/..data; stat -c %a /v/made /v/scratch/a; exec sleep 3600"
    container = {"volumeMounts": mounts, "env": [{"name": "HOSTNAME", "value": "me"}]}
    run_pod(machine, "fixed", script, container=container, volumes=volumes)
    running(machine, "fixed")
    machine.eventually(lambda: "777\n777\n" in machine.kubectl("logs", "fixed"))
    said = machine.kubectl("logs", "fixed")
    assert (
        "scratch/n\nmade/n\nvalue" in said
        and "rm: can't remove '/v/config/..data': Read-only" in said
    )
    assert all(f"{name}\n" not in said for name in ("config/n", "meta/n", "both/n")), said
    folder = next(
        (machine.root / "data").glob(f"**/pods/{machine.get('pod/fixed')['metadata']['uid']}")
    )
    gone(machine, "fixed")
    machine.eventually(lambda: not folder.exists())


def test_a_container_that_must_not_be_root_does_not_start_as_root(machine: Machine) -> None:
    run_pod(
        machine, "nobody", "exec sleep 3600", container={"securityContext": {"runAsNonRoot": True}}
    )

    def waiting() -> dict[str, str]:
        [status] = machine.get("pod/nobody")["status"].get("containerStatuses") or [{"state": {}}]
        return dict(status["state"].get("waiting", {}))

    machine.eventually(lambda: waiting().get("reason") == "CreateContainerConfigError")
    assert waiting()["message"].startswith(
        'container has runAsNonRoot and image will run as root (pod: "nobody_default('
    )
    gone(machine, "nobody")
    run_pod(
        machine,
        "somebody",
        "cat /var/run/secrets/kubernetes.io/serviceaccount/token && exec sleep 3600",
        securityContext={"runAsNonRoot": True, "runAsUser": 1234, "fsGroup": 4321},
    )
    running(machine, "somebody")
    facts = machine.kubectl(
        "exec",
        "somebody",
        "--",
        "stat",
        "-Lc",
        "%a %u %g",
        "/var/run/secrets/kubernetes.io/serviceaccount/token",
    )
    assert facts == "640 1234 4321\n"
    gone(machine, "somebody")


def test_pods_that_are_deleted_while_their_containers_are_made_have_failed(
    machine: Machine,
) -> None:
    names = [f"hasty-{number}" for number in range(4)]
    for name in names:
        run_pod(machine, name, "exec sleep 3600", restartPolicy="Never")
        machine.kubectl(
            "patch", "pod", name, "-p", '{"metadata":{"finalizers":["example.com/kept"]}}'
        )
        machine.kubectl("delete", "pod", name, "--wait=false")
    machine.eventually(lambda: {phase(machine, name) for name in names} == {"Failed"})
    machine.kubectl("patch", "pod", *names, "-p", '{"metadata":{"finalizers":null}}')
    machine.eventually(lambda: not machine.kubectl("get", "pods", *names, "--ignore-not-found"))


def test_a_command_that_is_not_there_ends_the_container_and_backs_off(machine: Machine) -> None:
    for name, policy in (("absent", "Never"), ("missing", "Always")):
        run_pod(machine, name, "", container={"command": ["/absent"]}, restartPolicy=policy)
    machine.eventually(lambda: phase(machine, "absent") == "Failed")
    ended = machine.get("pod/absent")["status"]["containerStatuses"][0]["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (128, "StartError") and "/absent" in ended[
        "message"
    ]
    machine.eventually(lambda: "CrashLoopBackOff" in machine.kubectl("get", "pod", "missing"))
    [status] = machine.get("pod/missing")["status"]["containerStatuses"]
    assert (
        status["lastState"]["terminated"]["reason"] == "StartError" and status["restartCount"] >= 1
    )
    assert "reserve" not in machine.kubectl("get", "events")
    gone(machine, "absent", "missing")


def test_a_new_sandbox_has_its_volumes_filled_again(machine: Machine) -> None:
    mount = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
    init = [
        {"name": "fill", "image": IMAGE, "command": ["sh", "-c", "echo filled >> /v/file"], **mount}
    ]
    volumes = [{"name": "v", "emptyDir": {}}]
    run_pod(
        machine,
        "boxed",
        "cat /v/file; exec sleep 3600",
        container=mount,
        initContainers=init,
        volumes=volumes,
    )
    running(machine, "boxed")
    uid = machine.get("pod/boxed")["metadata"]["uid"]
    pause = [
        pid
        for pid in os.listdir("/proc")
        if pid.isdigit() and _command(int(pid)).startswith(b"/pause")
    ]
    [own] = [pid for pid in pause if uid in Path(f"/proc/{pid}/cgroup").read_text()]
    os.kill(int(own), signal.SIGKILL)
    machine.eventually(
        lambda: machine.kubectl("logs", "boxed", "-c", "c", check=False) == "filled\nfilled\n"
    )
    running(machine, "boxed")
    gone(machine, "boxed")


def test_an_image_is_a_volume_that_nobody_writes_to(machine: Machine) -> None:
    volumes = [{"name": "v", "image": {"reference": IMAGE, "pullPolicy": "IfNotPresent"}}]
    mounts = [
        {"name": "v", "mountPath": "/v"},
        {"name": "v", "mountPath": "/part", "subPath": "bin"},
    ]
    script = "ls -d /v/www && test -x /part/sh && ! touch /v/x && echo fine; exec sleep 3600"
    run_pod(machine, "imaged", script, container={"volumeMounts": mounts}, volumes=volumes)
    running(machine, "imaged")
    machine.eventually(
        lambda: (
            "/v/www\nfine\n"
            in machine.kubectl("logs", "imaged").replace("touch: /v/x: Read-only file system\n", "")
        )
    )
    uid = machine.get("pod/imaged")["metadata"]["uid"]
    gone(machine, "imaged")
    machine.eventually(lambda: uid not in Path("/proc/self/mountinfo").read_text())


def test_images_that_are_not_to_be_had_are_told_as_upstream_tells_them(machine: Machine) -> None:
    others = [{"name": "absent", "image": "tiphys.local/absent:1", "imagePullPolicy": "Never"}]
    volumes = [
        {"name": "v", "image": {"reference": "tiphys.local/absent:1", "pullPolicy": "Never"}}
    ]
    others.append(
        {"name": "mounts", "image": IMAGE, "volumeMounts": [{"name": "v", "mountPath": "/v"}]}
    )  # type: ignore[dict-item]
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "unnamed"},
        "spec": {
            "containers": [{"name": "c", "image": "q.io/UPPER:1"}, *others],
            "volumes": volumes,
        },
    }
    machine.kubectl("apply", "-f", "-", stdin=json.dumps(body))

    def reasons() -> dict[str, str]:
        statuses = machine.get("pod/unnamed")["status"].get("containerStatuses", [])
        return {one["name"]: one["state"].get("waiting", {}).get("reason") for one in statuses}

    never = "ErrImageNeverPull"
    machine.eventually(
        lambda: reasons() == {"c": "InvalidImageName", "absent": never, "mounts": never}
    )

    def events() -> set[str]:
        every = machine.get("events", "--field-selector=involvedObject.name=unnamed")["items"]
        return {event["message"] for event in every}

    machine.eventually(lambda: {"Error: InvalidImageName", f"Error: {never}"} <= events())
    assert (
        'Container image "tiphys.local/absent:1" is not present with pull policy of Never'
        in events()
    )
    gone(machine, "unnamed")


def test_a_ready_pod_stays_ready_while_its_agent_is_killed(machine: Machine) -> None:
    probe = {"exec": {"command": ["true"]}, "periodSeconds": 60, "initialDelaySeconds": 1}
    run_pod(
        machine,
        "steady",
        "exec sleep 3600",
        container={"readinessProbe": probe, "startupProbe": probe},
    )
    running(machine, "steady")
    before = machine.get("pod/steady")["status"]
    place = next(
        n
        for n in (0, 1)
        if f"-{n + 1}" * n
        == machine.get("pod/steady")["spec"]["nodeName"][
            len(machine.get("nodes")["items"][0]["metadata"]["name"]) :
        ]
    )
    own = str(machine.root / "data" / "pki" / f"node{'-2' if place else ''}.kubeconfig").encode()
    [agent] = [
        int(pid)
        for pid in os.listdir("/proc")
        if pid.isdigit() and b"\0node\0--kubeconfig\0" + own in _command(int(pid))
    ]
    os.kill(agent, signal.SIGKILL)
    seen = subprocess.Popen(
        ["kubectl", "get", "pod", "steady", "-w", "-o", "json"],
        env=machine.env,
        stdout=subprocess.PIPE,
        text=True,
    )
    machine.kubectl("patch", "pod", "steady", "-p", '{"metadata":{"annotations":{"a":"b"}}}')
    machine.kubectl("delete", "pod", "steady", "--timeout=40s")  # the new agent does it
    seen.terminate()
    told = str(seen.communicate()[0])
    assert '"restartCount": 0' in told and '"restartCount": 1' not in told
    assert (
        before["containerStatuses"][0]["ready"]
        and "ContainersNotReady" not in told.split('"deletionTimestamp"')[0]
    )


def test_a_debugger_sees_the_processes_of_its_target(machine: Machine) -> None:
    run_pod(machine, "target", "exec sleep 54321")
    running(machine, "target")
    debugger = [
        "debug",
        "target",
        f"--image={IMAGE}",
        "--target=c",
        "--profile=general",
        "--quiet",
        "-c",
        "look",
    ]
    machine.kubectl(*debugger, "--", "sh", "-c", "cat /proc/[0-9]*/cmdline")
    machine.eventually(
        lambda: "54321" in machine.kubectl("logs", "target", "-c", "look", check=False)
    )
    gone(machine, "target")


def test_host_names_are_whole_names_others_or_the_nodes(machine: Machine) -> None:
    run_pod(
        machine, "whole", "exec sleep 3600", setHostnameAsFQDN=True, hostname="h", subdomain="s"
    )
    run_pod(machine, "other", "exec sleep 3600", hostnameOverride="o.example.com")
    nodes = [node["metadata"]["name"] for node in machine.get("nodes")["items"]]
    run_pod(machine, "hosted", "exec sleep 3600", hostNetwork=True, nodeName=nodes[1])
    for name in ("whole", "other", "hosted"):
        running(machine, name)
    said = [
        machine.kubectl("exec", name, "--", "hostname").strip()
        for name in ("whole", "other", "hosted")
    ]
    assert said == ["h.s.default.svc.cluster.local", "o.example.com", nodes[1]]
    gone(machine, "whole", "other", "hosted")


def test_a_probe_may_give_its_container_less_time_to_end(machine: Machine) -> None:
    probe = {
        "exec": {"command": ["false"]},
        "periodSeconds": 1,
        "failureThreshold": 1,
        "terminationGracePeriodSeconds": 1,
    }
    script = "trap '' TERM; while true; do sleep 1; done"
    run_pod(
        machine,
        "hurried",
        script,
        container={"livenessProbe": probe},
        terminationGracePeriodSeconds=60,
    )
    machine.eventually(
        lambda: machine.get("pod/hurried")["status"]["containerStatuses"][0]["restartCount"] >= 1,
        20,
    )
    machine.kubectl("delete", "pod", "hurried", "--grace-period=1", "--timeout=40s")


def test_pods_with_too_much_on_disk_are_evicted_and_their_logs_go(machine: Machine) -> None:
    volumes = [{"name": "v", "emptyDir": {"sizeLimit": "1Mi"}}]
    mounts = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
    run_pod(
        machine,
        "full",
        "head -c 3000000 /dev/zero > /v/f; exec sleep 3600",
        container=mounts,
        volumes=volumes,
    )
    limits = {"resources": {"limits": {"ephemeral-storage": "1Mi"}}}
    run_pod(
        machine, "wordy", "head -c 3000000 /dev/zero > /tmp/f; exec sleep 3600", container=limits
    )
    machine.eventually(lambda: {phase(machine, name) for name in ("full", "wordy")} == {"Failed"})
    told = {name: machine.get(f"pod/{name}")["status"] for name in ("full", "wordy")}
    assert told["full"]["reason"] == told["wordy"]["reason"] == "Evicted"
    assert told["full"]["message"] == 'Usage of EmptyDir volume "v" exceeds the limit "1Mi". '
    assert (
        "exceeded its local ephemeral storage limit" in told["wordy"]["message"]
        or "Pod ephemeral local storage" in told["wordy"]["message"]
    )
    uid = machine.get("pod/full")["metadata"]["uid"]
    [logs] = machine.root.glob(f"data/**/default_full_{uid}")
    gone(machine, "full", "wordy")
    machine.eventually(lambda: not logs.exists())


def test_claims_of_a_pods_own_are_volumes_that_any_user_may_write_to(machine: Machine) -> None:
    template = {
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    }
    volumes = [{"name": "own", "ephemeral": {"volumeClaimTemplate": template}}]
    mounts = {"volumeMounts": [{"name": "own", "mountPath": "/own"}]}
    security = {"runAsUser": 1234, "fsGroup": 4321}
    run_pod(
        machine,
        "owner",
        "touch /own/file && exec sleep 3600",
        container=mounts,
        volumes=volumes,
        securityContext=security,
    )
    running(machine, "owner")
    assert (
        machine.kubectl("exec", "owner", "--", "stat", "-c", "%a %u %g", "/own/file")
        == "644 1234 4321\n"
    )
    gone(machine, "owner")


def test_variables_come_from_a_file_that_an_init_container_wrote(machine: Machine) -> None:
    mount = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
    init = [
        {
            "name": "write",
            "image": IMAGE,
            "command": ["sh", "-c", "echo \"KEY='val ue'\" > /v/env"],
            **mount,
        }
    ]
    ref = {"fileKeyRef": {"volumeName": "v", "path": "env", "key": "KEY"}}
    env = {"env": [{"name": "GIVEN", "valueFrom": ref}]}
    run_pod(
        machine,
        "filed",
        'echo "got $GIVEN"',
        container=env,
        initContainers=init,
        restartPolicy="Never",
        volumes=[{"name": "v", "emptyDir": {}}],
    )
    machine.eventually(lambda: phase(machine, "filed") == "Succeeded")
    assert machine.kubectl("logs", "filed") == "got val ue\n"
    gone(machine, "filed")


def test_what_the_runtime_cannot_do_is_refused_with_its_reason(machine: Machine) -> None:
    run_pod(machine, "strict", "sleep 9", securityContext={"supplementalGroupsPolicy": "Strict"})
    run_pod(machine, "mapped", "sleep 9", hostUsers=False)
    mount = {"name": "v", "mountPath": "/v", "readOnly": True, "recursiveReadOnly": "Enabled"}
    volumes = [{"name": "v", "emptyDir": {}}]
    run_pod(machine, "deep", "sleep 9", container={"volumeMounts": [mount]}, volumes=volumes)
    machine.eventually(
        lambda: (
            machine.get("pod/strict")["status"].get("reason")
            == "SupplementalGroupsPolicyNotSupported"
        )
    )

    def events(name: str) -> str:
        return machine.kubectl("get", "events", f"--field-selector=involvedObject.name={name}")

    machine.eventually(lambda: "runtime does not support user namespaces" in events("mapped"))
    machine.eventually(lambda: "not supported by the runtime" in events("deep"))
    assert phase(machine, "mapped") == phase(machine, "deep") == "Pending"
    gone(machine, "strict", "mapped", "deep")


def test_a_nodes_own_server_is_asked_with_rights_only(machine: Machine) -> None:
    node = machine.get("nodes")["items"][0]
    port = node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"]
    base, name = (
        f"https://{node['status']['addresses'][0]['address']}:{port}",
        node["metadata"]["name"],
    )

    def ask(path: str, token: str = "") -> tuple[int, str]:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        asked = urllib.request.Request(base + path, headers=headers)
        try:
            with urllib.request.urlopen(
                asked, timeout=10, context=ssl._create_unverified_context()
            ) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read().decode()

    machine.kubectl("create", "serviceaccount", "scraper")
    machine.kubectl("create", "clusterrole", "scraper", "--verb=get", "--resource=nodes/metrics")
    machine.kubectl(
        "create",
        "clusterrolebinding",
        "scraper",
        "--clusterrole=scraper",
        "--serviceaccount=default:scraper",
    )
    token = machine.kubectl("create", "token", "scraper").strip()
    assert (
        ask("/metrics/resource") == ask("/metrics/resource", "nonsense") == (401, "Unauthorized\n")
    )
    status, told = ask("/pods", token)
    assert status == 403 and told == (
        "Forbidden (user=system:serviceaccount:default:scraper, verb=get, resource=nodes, subresource(s)=[pods proxy])\n"
    )
    run_pod(machine, "metered", "exec sleep 3600", nodeName=name)
    running(machine, "metered")
    shown = 'container_memory_working_set_bytes{container="c",namespace="default",pod="metered"}'
    machine.eventually(lambda: shown in ask("/metrics/resource", token)[1])

    def raw(path: str) -> str:
        return machine.kubectl("get", "--raw", f"/api/v1/nodes/{name}/proxy/{path}")

    assert any(
        pod["metadata"]["name"] == "metered" for pod in json.loads(raw("runningpods/"))["items"]
    )
    assert json.loads(raw("configz"))["kubeletconfig"]["containerLogMaxSize"] == "10Mi"
    assert raw("healthz") == "ok" and "<pre>" in raw("logs/")
    machine.kubectl("delete", "clusterrolebinding,clusterrole,serviceaccount", "scraper")
    gone(machine, "metered")


def test_a_local_services_node_port_answers_pods_and_nodes_without_an_endpoint_of_theirs(
    machine: Machine,
) -> None:
    nodes = machine.get("nodes")["items"]
    there, here = (node["metadata"]["name"] for node in nodes[:2])
    addresses = [node["status"]["addresses"][0]["address"] for node in nodes[:2]]
    script = "mkdir w; echo local > w/index.html; exec httpd -f -p 8080 -h w"
    run_pod(machine, "served", script, nodeName=there, labels={"app": "served"})
    run_pod(machine, "asking", "exec sleep 3600", nodeName=here)
    running(machine, "served")
    running(machine, "asking")
    ports = [{"name": "p", "port": 80, "targetPort": 8080}]
    spec = {
        "type": "NodePort",
        "externalTrafficPolicy": "Local",
        "selector": {"app": "served"},
        "ports": ports,
    }
    body = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "stays"}, "spec": spec}
    machine.kubectl("apply", "-f", "-", stdin=json.dumps(body))
    port = machine.get("service/stays")["spec"]["ports"][0]["nodePort"]

    def fetch(address: str) -> str:
        url = f"http://{address}:{port}/"
        return machine.kubectl("exec", "asking", "--", "wget", "-qO-", url, check=False).strip()

    machine.eventually(lambda: [fetch(address) for address in addresses] == ["local", "local"])
    with urllib.request.urlopen(f"http://{addresses[0]}:{port}/", timeout=5) as answer:
        assert answer.read() == b"local\n"
    machine.kubectl("delete", "service", "stays")
    gone(machine, "served", "asking")


@pytest.mark.slow
def test_logs_are_followed_over_a_rotation(machine: Machine) -> None:
    script = "head -c 11000000 /dev/zero | tr '\\0' x | fold -w 9999; echo; while true; do echo more; sleep 0.2; done"
    run_pod(machine, "wordy", script)
    running(machine, "wordy")
    machine.eventually(lambda: machine.kubectl("logs", "wordy", "--tail=1") == "more\n")
    uid = machine.get("pod/wordy")["metadata"]["uid"]
    [folder] = machine.root.glob(f"data/**/default_wordy_{uid}/c")
    follower = subprocess.Popen(
        ["kubectl", "logs", "-f", "--tail=1", "wordy"],
        env=machine.env,
        stdout=subprocess.PIPE,
        text=True,
    )
    machine.eventually(lambda: len(list(folder.iterdir())) == 2)
    assert follower.stdout is not None
    for _ in range(20):  # more than four seconds of it, beyond what was read before
        assert follower.stdout.readline() == "more\n"
    follower.terminate()
    assert "x" not in machine.kubectl("logs", "wordy"), "the log is a new one"
    gone(machine, "wordy")
    machine.eventually(lambda: not folder.exists())
