"""Images that cannot be had."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.machine import (
    EXAMPLE,
    IMAGE,
    Machine,
    discard,
    run_pod,
    running,
)
from tiphys.cluster import images
from tiphys.testing.cluster import free_port


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
    discard(machine, "unnamed")


@pytest.mark.slow
def test_nginx_is_the_image_that_was_pushed_where_its_registry_is_mirrored(
    machine: Machine, tmp_path: Path
) -> None:
    digest = images.build(
        tmp_path / "nginx.tar", "nginx", {"bin/nginx": images.pause_program()}, ["/bin/nginx"]
    )
    settings = ("--set", "mirrors=docker.io", "--set", f"port={free_port()}")
    machine.tiphys("addon", "enable", "registry", *settings, "--context", machine.name)
    machine.tiphys("image", "push", "--name", machine.name, str(tmp_path / "nginx.tar"))
    container = {"image": "nginx", "command": ["nginx"], "imagePullPolicy": "Always"}
    nodes = [node["metadata"]["name"] for node in machine.get("nodes")["items"]]
    for node in nodes:
        run_pod(machine, f"nginx-{node}", "", nodeName=node, container=container)
    for node in nodes:
        running(machine, f"nginx-{node}")
        status = machine.get(f"pod/nginx-{node}")["status"]["containerStatuses"][0]
        assert status["imageID"] == f"docker.io/library/nginx@{digest}"
    discard(machine, *(f"nginx-{node}" for node in nodes))
    machine.tiphys("addon", "disable", "registry", "--purge", "--context", machine.name)
