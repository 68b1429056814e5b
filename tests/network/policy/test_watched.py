"""The part of a pod that a node keeps of all pods says the same to policies as the whole."""

from __future__ import annotations

from tests.builders import pod as build_pod
from tiphys.api.base import decode, encode
from tiphys.network.policy.model import facts_of
from tiphys.network.policy.watched import WatchedPod


def test_the_part_has_the_facts_of_the_whole() -> None:
    ports = [{"name": "http", "containerPort": 80, "protocol": "UDP"}]
    sidecar = {"name": "s", "image": "i", "ports": ports, "restartPolicy": "Always"}
    whole = build_pod("p", labels={"app": "web"}, nodeName="n1", initContainers=[sidecar])
    whole.status.phase, whole.status.pod_ip = "Running", "10.0.0.1"
    assert facts_of(decode(encode(whole), WatchedPod)) == facts_of(whole)
    assert facts_of(whole).ports and facts_of(whole).address
