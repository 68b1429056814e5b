"""Nodes that run containers: made for pods, replaced with another first, and gone without a trace."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.controlgroups import control_groups
from tests.e2e.machine import Machine
from tiphys.cluster import containerd
from tiphys.network.pods import run
from tiphys.testing.cluster import free_port

POOL = """
apiVersion: karpenter.tiphys.dev/v1alpha1
kind: TiphysNodeClass
metadata: {name: real}
spec: {image: base@2026.46, runtime: containerd}
---
apiVersion: karpenter.sh/v1
kind: NodePool
metadata: {name: real}
spec:
  template:
    metadata: {labels: {team: red}}
    spec:
      requirements: [{key: kubernetes.io/os, operator: In, values: [linux]}]
      taints: [{key: team, value: red, effect: NoSchedule}]
      nodeClassRef: {group: karpenter.tiphys.dev, kind: TiphysNodeClass, name: real}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: real}
spec:
  replicas: 2
  selector: {matchLabels: {app: real}}
  template:
    metadata: {labels: {app: real}}
    spec:
      nodeSelector: {team: red}
      tolerations: [{key: team, operator: Exists}]
      terminationGracePeriodSeconds: 1
      containers:
        - name: c
          image: tiphys.local/pause:1
          resources: {requests: {cpu: 500m}}
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        os.geteuid() != 0 or bool(containerd.missing()), reason="needs root and containerd"
    ),
]


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path, f"karp-{os.getpid()}")
    where = ("--name", made.name, "--data-dir", str(tmp_path / "data"))
    port = ("--port", str(free_port()))
    made.tiphys("up", *where, *port, "--runtime", "containerd", "--nodes", "1", "--wait")
    try:
        quick = ("--set", "disruptionInterval=1s", "--set", "minDrainTime=0s")
        made.tiphys("addon", "enable", "karpenter", *quick)
        yield made
    finally:
        made.tiphys("down", "--name", made.name, "--purge", check=False)


def nodes(machine: Machine) -> list[Any]:
    return list(machine.get("nodes", "-l", "karpenter.sh/nodepool=real")["items"])


def running_on(machine: Machine) -> set[str]:
    """The nodes of the pods, once all of them run."""
    pods = machine.get("pods", "-l", "app=real")["items"]
    up = [pod for pod in pods if pod["status"]["phase"] == "Running"]
    standing = [pod for pod in up if "deletionTimestamp" not in pod["metadata"]]
    return {pod["spec"]["nodeName"] for pod in standing} if len(standing) == 2 else set()


def inside(machine: Machine, node: str) -> list[str]:
    """What the containerd of a node runs."""
    folders = Path("/run/tiphys", machine.name).glob("node-*")
    [socket] = [folder / "containerd.sock" for folder in folders if node]
    return run("ctr", "--address", str(socket), "-n", "k8s.io", "tasks", "ls", "-q").split()


def traces(machine: Machine) -> list[str]:
    """What is left of nodes in sandboxes."""
    number = machine.get("nodes")["items"][0]["spec"]["podCIDR"].split(".")[2]
    spaces = [name for name in run("ip", "netns").split() if name.startswith(f"tiphys{number}-")]
    folders = [file.name for file in (machine.root / "data").glob("*-1[0-9]*")]
    groups = control_groups(f"tiphys-{number}/node-*")
    return [*spaces, *folders, *(group.name for group in groups)]


def test_a_pool_has_real_machines_that_leave_nothing_behind(machine: Machine) -> None:
    machine.kubectl("apply", "-f", "-", stdin=POOL)
    [first] = machine.eventually(lambda: running_on(machine), 90)
    [node] = nodes(machine)
    assert (node["metadata"]["name"], node["metadata"]["labels"]["team"]) == (first, "red")
    assert node["status"]["capacity"]["cpu"] == "2"
    assert [taint["key"] for taint in node["spec"]["taints"]] == ["team"]
    assert len(inside(machine, first)) == 4  # two pods, and what holds their namespaces

    newer = '{"spec": {"image": "base@2026.47"}}'
    machine.kubectl("patch", "tiphysnodeclass", "real", "--type=merge", "-p", newer)
    machine.eventually(lambda: running_on(machine) - {first} and len(nodes(machine)) == 1, 120)
    [replaced] = machine.get("disruptionreport/real")["status"]["replaced"]
    assert (replaced["node"], len(replaced["replacements"])) == (first, 1)

    machine.kubectl("delete", "deployment", "real")
    machine.eventually(lambda: not machine.get("nodeclaims")["items"], 90)
    assert (nodes(machine), traces(machine)) == ([], [])


def test_machines_end_with_the_add_on_and_with_the_cluster(machine: Machine) -> None:
    machine.kubectl("apply", "-f", "-", stdin=POOL)
    machine.eventually(lambda: running_on(machine), 90)
    machine.tiphys("addon", "disable", "karpenter", "--purge")
    assert (nodes(machine), traces(machine)) == ([], [])

    machine.tiphys("addon", "enable", "karpenter")
    machine.kubectl("apply", "-f", "-", stdin=POOL)
    machine.eventually(lambda: running_on(machine), 90)
    [space] = [name for name in run("ip", "netns").split() if name in traces(machine)]
    machine.tiphys("down", "--name", machine.name, "--purge")
    assert space not in run("ip", "netns").split()
    assert not Path("/run/tiphys", machine.name).exists()
