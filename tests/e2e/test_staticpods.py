"""Pods of files, on a node of containers of their own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import configured
from tests.e2e.machine import IMAGE, Machine, restart_node
from tiphys.machinery.podrefs import MIRROR
from tiphys.node.staticpods.manifests import HASH


@pytest.fixture
def static(tmp_path: Path) -> Iterator[Machine]:
    (tmp_path / "manifests").mkdir()
    with configured(tmp_path, "static", f"staticPodPath: {tmp_path}/manifests") as machine:
        yield machine


def write(machine: Machine, word: str, **spec: Any) -> None:
    """The manifest of the static pod, which says a word."""
    script = f"echo {word}; trap 'exit 0' TERM; sleep 3600 & wait"
    one = {"name": "c", "image": IMAGE, "command": ["sh", "-c", script], **spec}
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "own"},
        "spec": {"containers": [one]},
    }
    file = machine.root / "manifests" / "own.yaml"
    file.with_name(".own").write_text(json.dumps(body))
    file.with_name(".own").rename(file)


@pytest.mark.slow
def test_a_static_pod_follows_its_file_and_its_mirror_follows_it(static: Machine) -> None:
    write(static, "first")
    shown = static.eventually(lambda: is_running(static))
    meta = shown["metadata"]
    assert meta["annotations"][MIRROR] == meta["annotations"][HASH] != meta["uid"]
    assert meta["ownerReferences"][0]["kind"] == "Node"
    assert static.kubectl("logs", meta["name"]) == "first\n"
    static.kubectl("delete", "pod", meta["name"], "--wait=false")
    again = static.eventually(lambda: is_running(static, meta["uid"]))
    assert container(again) == container(shown), "the pod itself runs on"
    restart_node(static)
    assert container(is_running(static)) == container(shown)
    write(static, "second")
    changed = static.eventually(lambda: is_running(static, again["metadata"]["uid"]))
    assert static.kubectl("logs", meta["name"]) == "second\n"
    assert changed["metadata"]["annotations"][HASH] != meta["annotations"][HASH]
    write(static, "third", envFrom=[{"configMapRef": {"name": "settings"}}])
    (static.root / "manifests" / "own.yaml").unlink()
    static.eventually(lambda: not static.get("pods")["items"])


def is_running(machine: Machine, before: str = "") -> Any:
    """The mirror, once it runs and is not the one of the uid `before`."""
    for shown in machine.get("pods")["items"]:
        is_new = shown["metadata"]["uid"] != before
        if is_new and shown["status"]["phase"] == "Running":
            return shown
    return None


def container(shown: Any) -> str:
    return str(shown["status"]["containerStatuses"][0]["containerID"])
