"""Real containers that start, fail, are probed, restarted, resized, evicted and ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

from tests.e2e.controlgroups import control_groups
from tests.e2e.machine import (
    IMAGE,
    Machine,
    command_line,
    discard,
    gone,
    phase,
    restart_node,
    run_pod,
    running,
)
from tiphys.cluster import images
from tiphys.node.resources.cgroups import ROOT, is_unified


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
    discard(machine, "probed")


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
    discard(machine, "staged", "crashing")


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


def test_a_container_is_replaced_when_its_pod_gets_another_image(machine: Machine) -> None:
    """One that runs, one that waits for its next restart, and one whose image is not there."""
    other = "tiphys.local/other:1"
    tar = machine.root / "other.tar"
    files: dict[str, bytes | str] = {"bin/busybox": Path("/bin/busybox").read_bytes()}
    files |= {f"bin/{name}": "/bin/busybox" for name in ("sh", "sleep", "test")}
    images.build(tar, other, files, ["/bin/sh"])
    machine.tiphys("image", "load", "--name", machine.name, str(tar))
    run_pod(machine, "moved", "exec sleep 3600", restartPolicy="Never")
    run_pod(machine, "crashed", "test -e /tmp/never")
    run_pod(machine, "typo", "exec sleep 3600", container={"image": "tiphys.local/nothing:1"})
    running(machine, "moved")
    machine.eventually(lambda: restarts(machine, "crashed") == {"c": 2})  # and the next is in 20 s
    for name in ("crashed", "moved", "typo"):
        machine.kubectl("set", "image", f"pod/{name}", f"c={other}")
    machine.eventually(lambda: restarts(machine, "crashed")["c"] >= 3, 10)
    machine.eventually(lambda: restarts(machine, "moved") == {"c": 1})
    running(machine, "moved")
    running(machine, "typo")
    event = machine.kubectl("get", "events", "--field-selector=involvedObject.name=moved")
    assert "Container c definition changed, will be restarted" in event
    status = machine.get("pod/moved")["status"]
    assert status["containerStatuses"][0]["lastState"]["terminated"]["exitCode"] != 0
    discard(machine, "moved", "crashed", "typo")


_TELLS = """
trap 'echo USR1 >> /host/$1; exit 0' USR1
trap 'echo TERM >> /host/$1' TERM
touch /host/$1
while true; do sleep 0.1; done
"""


def test_a_container_ends_by_the_signal_of_its_pod(machine: Machine) -> None:
    """Also under an agent that did not start it."""
    folder = Path(f"/tmp/tiphys-signals-{os.getpid()}")
    container = {
        "lifecycle": {"stopSignal": "SIGUSR1"},
        "volumeMounts": [{"name": "host", "mountPath": "/host"}],
    }
    volumes = [{"name": "host", "hostPath": {"path": str(folder), "type": "DirectoryOrCreate"}}]
    for name in ("before", "now"):
        script = _TELLS.replace("$1", name)
        more = {"os": {"name": "linux"}, "terminationGracePeriodSeconds": 20}
        run_pod(machine, name, script, container=container, volumes=volumes, **more)
        running(machine, name)
        machine.eventually((folder / name).exists)
        if name == "before":
            restart_node(machine)
    status = machine.get("pod/now")["status"]["containerStatuses"][0]
    assert status["stopSignal"] == "SIGUSR1"
    gone(machine, "before", "now")
    assert [(folder / name).read_text() for name in ("before", "now")] == ["USR1\n"] * 2


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
    discard(machine, "growing")


def test_a_pod_is_resized_as_a_whole_while_it_runs(machine: Machine) -> None:
    sizes = {
        "requests": {"cpu": "100m", "memory": "40Mi"},
        "limits": {"cpu": "200m", "memory": "60Mi"},
    }
    run_pod(machine, "roomy", "exec sleep 3600", resources=sizes)
    running(machine, "roomy")
    before = machine.get("pod/roomy")["status"]
    assert before["resources"] == sizes
    assert before["allocatedResources"] == sizes["requests"]
    wish = {"requests": {"cpu": "150m"}, "limits": {"cpu": "300m", "memory": "80Mi"}}
    body = json.dumps({"spec": {"resources": wish}})
    machine.kubectl("patch", "pod", "roomy", "--subresource=resize", "-p", body)
    limits = {"cpu": "300m", "memory": "80Mi"}
    machine.eventually(lambda: machine.get("pod/roomy")["status"]["resources"]["limits"] == limits)
    after = machine.get("pod/roomy")
    assert after["status"]["allocatedResources"] == {"cpu": "150m", "memory": "40Mi"}
    assert after["status"]["containerStatuses"][0]["restartCount"] == 0
    assert pod_memory_limit(after["metadata"]["uid"]) == 80 << 20
    script = "cat /sys/fs/cgroup/memory.max || cat /sys/fs/cgroup/memory/memory.limit_in_bytes"
    own = machine.kubectl("exec", "roomy", "--", "sh", "-c", script)
    assert own.strip() == str(80 << 20), "the container has no limit of its own"
    assert not [c for c in after["status"]["conditions"] if c["type"].startswith("PodResize")]
    discard(machine, "roomy")


def pod_memory_limit(uid: str) -> int:
    """Bytes, as the control group of the pod says."""
    names = ("memory.limit_in_bytes", "memory.max")
    folders = control_groups(f"pod{uid}")
    [limit] = {
        int((folder / name).read_text())
        for folder in folders
        for name in names
        if (folder / name).exists()
    }
    return limit


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
    discard(machine, "absent", "missing")


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
        if pid.isdigit() and b"\0node\0--kubeconfig\0" + own in command_line(int(pid))
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


def test_a_pod_has_its_part_of_the_machine_as_a_whole(machine: Machine) -> None:
    """A group for the pod, with the sum of its containers' requests and limits, below that of its
    class."""
    asked = {"requests": {"cpu": "300m", "memory": "32Mi"}, "limits": {"memory": "64Mi"}}
    run_pod(machine, "part", "exec sleep 3600", container={"resources": asked})
    running(machine, "part")
    uid = machine.get("pod/part")["metadata"]["uid"]
    assert _group_file(uid, "cpu", "cpu.shares", "cpu.weight") in ("307", "12")
    assert _group_file(uid, "memory", "memory.limit_in_bytes", "memory.max") == str(64 << 20)
    gone(machine, "part")
    machine.eventually(lambda: not control_groups(f"pod{uid}"))


def _group_file(uid: str, controller: str, first: str, second: str) -> str:
    """A file of a burstable pod's group, in version 1 or 2 of control groups."""
    top, name = (ROOT, second) if is_unified() else (ROOT / controller, first)
    found = control_groups(f"burstable/pod{uid}")
    [group] = [folder for folder in found if folder.is_relative_to(top)]
    return (group / name).read_text().strip()


RULES = [{"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [42]}}]


def test_a_rule_restarts_all_containers_in_place(machine: Machine) -> None:
    """The init container runs again, the address stays, and what is in a volume stays, too."""
    script = "echo x >> /data/runs; [ $(wc -l < /data/runs) -gt 2 ] && exec sleep 3600; exit 42"
    mounts = [{"name": "data", "mountPath": "/data"}]
    shared = {"image": IMAGE, "volumeMounts": mounts}
    run_pod(
        machine,
        "again",
        "exec sleep 3600",
        volumes=[{"name": "data", "emptyDir": {}}],
        initContainers=[
            {"name": "i", "command": ["sh", "-c", "echo i >> /data/inits"], **shared},
            {
                "name": "t",
                "command": ["sh", "-c", script],
                "restartPolicy": "Always",
                "restartPolicyRules": RULES,
                **shared,
            },
        ],
    )
    machine.eventually(lambda: restarts(machine, "again") == {"c": 2, "i": 2, "t": 2})
    running(machine, "again")
    count = ["exec", "again", "-c", "t", "--", "sh", "-c", "wc -l < /data/inits"]
    assert machine.kubectl(*count).strip() == "3"
    [condition] = [
        one
        for one in machine.get("pod/again")["status"]["conditions"]
        if one["type"] == "AllContainersRestarting"
    ]
    assert condition["status"] == "False"
    discard(machine, "again")


def restarts(machine: Machine, name: str) -> dict[str, int]:
    status = machine.get(f"pod/{name}")["status"]
    statuses = [*status.get("containerStatuses", []), *status.get("initContainerStatuses", [])]
    return {one["name"]: one["restartCount"] for one in statuses}


def test_a_runtime_class_chooses_among_the_runtimes_that_are_installed(machine: Machine) -> None:
    classes = [
        {
            "apiVersion": "node.k8s.io/v1",
            "kind": "RuntimeClass",
            "metadata": {"name": handler},
            "handler": handler,
        }
        for handler in ("runc", "absent")
    ]
    body = json.dumps({"apiVersion": "v1", "kind": "List", "items": classes})
    machine.kubectl("apply", "-f", "-", stdin=body)
    run_pod(machine, "chosen", "exec sleep 3600", runtimeClassName="runc")
    run_pod(machine, "unserved", "exec sleep 3600", runtimeClassName="absent")
    running(machine, "chosen")
    reason = 'no runtime for "absent" is configured'
    machine.eventually(lambda: reason in machine.kubectl("describe", "pod", "unserved"))
    gone(machine, "chosen", "unserved")
    machine.kubectl("delete", "runtimeclass", "runc", "absent")
