"""What real containers find in their volumes and their environment."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.e2e.machine import (
    IMAGE,
    Machine,
    command_line,
    control_groups,
    discard,
    gone,
    phase,
    run_pod,
    running,
)


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
    output = machine.kubectl(
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
        assert expected in output, expected
    discard(machine, "configured")


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
    output = machine.kubectl("logs", "fixed")
    assert (
        "scratch/n\nmade/n\nvalue" in output
        and "rm: can't remove '/v/config/..data': Read-only" in output
    )
    assert all(f"{name}\n" not in output for name in ("config/n", "meta/n", "both/n")), output
    uid = machine.get("pod/fixed")["metadata"]["uid"]
    [folder] = (machine.root / "data").glob(f"node*/pods/{uid}")  # others come and go below
    gone(machine, "fixed")
    machine.eventually(lambda: not folder.exists())


def test_an_image_is_a_volume_that_nobody_writes_to_or_runs(machine: Machine) -> None:
    volumes = [{"name": "v", "image": {"reference": IMAGE, "pullPolicy": "IfNotPresent"}}]
    mounts = [
        {"name": "v", "mountPath": "/v"},
        {"name": "v", "mountPath": "/part", "subPath": "bin", "readOnly": True},
    ]
    script = (
        "ls -d /v/www && test -s /part/sh && ! touch /v/x && ! touch /part/x"
        " && ! /v/bin/busybox true && ! /part/busybox true && echo fine; exec sleep 3600"
    )
    run_pod(machine, "imaged", script, container={"volumeMounts": mounts}, volumes=volumes)
    running(machine, "imaged")
    machine.eventually(lambda: "fine" in machine.kubectl("logs", "imaged"))
    log = machine.kubectl("logs", "imaged").splitlines()
    assert {"/v/www", "touch: /v/x: Read-only file system", "fine"} <= set(log)
    assert len([line for line in log if "Permission denied" in line]) == 2
    uid = machine.get("pod/imaged")["metadata"]["uid"]
    gone(machine, "imaged")
    machine.eventually(lambda: uid not in Path("/proc/self/mountinfo").read_text())


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
    discard(machine, "owner")


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
    discard(machine, "filed")


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
        if pid.isdigit() and command_line(int(pid)).startswith(b"/pause")
    ]
    [own] = [pid for pid in pause if uid in control_groups(int(pid))]
    os.kill(int(own), signal.SIGKILL)
    machine.eventually(
        lambda: machine.kubectl("logs", "boxed", "-c", "c", check=False) == "filled\nfilled\n"
    )
    running(machine, "boxed")
    discard(machine, "boxed")
