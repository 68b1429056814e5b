"""Manifests, as the API server's own rules read them."""

from __future__ import annotations

import pytest

from tiphys.api import core_v1
from tiphys.cluster.staticmanifests import CreatedPods
from tiphys.node.staticpods.manifests import HASH, ManifestError, static_pod

POD = (
    "apiVersion: v1\nkind: Pod\nmetadata: {name: own}\nspec:\n  containers: [{name: c, image: i}]\n"
)


def read(text: str, source: str = "/m/own.yaml", node: str = "node-1") -> core_v1.Pod:
    return static_pod(text.encode(), source, node, CreatedPods())


def test_it_is_named_after_its_node_and_stays_on_it() -> None:
    pod = read(POD)
    assert (pod.metadata.namespace, pod.metadata.name) == ("default", "own-node-1")
    assert pod.spec.node_name == "node-1"
    assert (pod.spec.tolerations[-1].operator, pod.spec.tolerations[-1].effect) == (
        "Exists",
        "NoExecute",
    )


def test_it_has_the_defaults_of_a_pod_that_is_created() -> None:
    pod = read(POD)
    assert (pod.spec.restart_policy, pod.spec.termination_grace_period_seconds) == ("Always", 30)
    assert (pod.status.phase, pod.status.qos_class) == ("Pending", "BestEffort")


def test_its_uid_is_that_of_its_content_file_and_node() -> None:
    uid = read(POD).metadata.uid
    assert read(POD + "# the same\n").metadata.uid == uid
    others = [read(POD, "/m/b").metadata.uid, read(POD, node="n2").metadata.uid]
    others.append(read(POD.replace("image: i", "image: j")).metadata.uid)
    assert len({uid, *others}) == 4
    assert read(POD).metadata.annotations[HASH] == uid


def test_its_author_may_choose_its_uid() -> None:
    assert read(POD.replace("name: own", "name: own, uid: mine")).metadata.uid == "mine"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[", "couldn't parse as pod"),
        ("kind: Pod", "it is no Pod of v1"),
        ("a text", "couldn't parse as pod"),
        ("", "couldn't parse as pod"),
        (POD.replace("kind: Pod", "kind: Service"), "it is no Pod of v1"),
        (POD.replace("name: own", ""), "name is needed for the pod"),
        (POD.replace("name: own", "name: own, uid: ../x"), "names no folder"),
        (POD.replace("image: i", "image: i, ports: [{}]"), "containerPort: Required value"),
        (POD.replace("name: own", "name: _"), "metadata.name: Invalid value"),
        (POD + "  serviceAccountName: a\n", "static pods may not reference serviceaccounts"),
        (
            POD.replace("image: i", "image: i, envFrom: [{secretRef: {name: s}}]"),
            "static pods may not reference secrets",
        ),
        (
            POD + "  volumes: [{name: v, configMap: {name: m}}]\n",
            "static pods may not reference configmaps",
        ),
        (
            POD + "  volumes: [{name: v, persistentVolumeClaim: {claimName: m}}]\n",
            "static pods may not reference persistentvolumeclaims",
        ),
    ],
)
def test_what_is_no_static_pod_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ManifestError) as refused:
        read(text)
    assert problem in str(refused.value)
