"""Pods and claims of stateful sets."""

from __future__ import annotations

from tests.builders import pod
from tiphys.api.apps_v1 import StatefulSet, StatefulSetSpec
from tiphys.api.base import from_builtins
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.controllers import statefulset


def stateful(**spec: object) -> StatefulSet:
    meta = ObjectMeta(name="s", namespace="default")
    return StatefulSet(metadata=meta, spec=from_builtins(spec, StatefulSetSpec))


def test_a_pod_has_its_name_and_its_claims() -> None:
    volumes = [{"name": "data", "emptyDir": {}}, {"name": "other", "emptyDir": {}}]
    owner = stateful(
        serviceName="svc",
        template={"spec": {"containers": [], "volumes": volumes}},
        volumeClaimTemplates=[{"metadata": {"name": "data"}}],
    )
    made = statefulset.new_pod(owner, owner.spec.template, 1, "r")
    assert (made.metadata.name, made.metadata.generate_name) == ("s-1", "")
    assert (made.spec.hostname, made.spec.subdomain) == ("s-1", "svc")
    assert made.metadata.labels == {
        "statefulset.kubernetes.io/pod-name": "s-1",
        "apps.kubernetes.io/pod-index": "1",
        "controller-revision-hash": "r",
    }
    claims = {v.name: v.persistent_volume_claim for v in made.spec.volumes}
    assert claims["other"] is None
    assert claims["data"] is not None and claims["data"].claim_name == "data-s-1"


def test_a_claim_has_the_labels_of_its_set() -> None:
    template = {"metadata": {"name": "data", "labels": {"a": "b"}}, "spec": {}}
    owner = stateful(
        selector={"matchLabels": {"app": "s"}},
        volumeClaimTemplates=[template],
        persistentVolumeClaimRetentionPolicy={"whenDeleted": "Delete", "whenScaled": "Retain"},
    )
    made = statefulset.new_claim(owner, owner.spec.volume_claim_templates[0], pod("s-0"))
    assert (made.metadata.name, made.metadata.namespace) == ("data-s-0", "default")
    assert made.metadata.labels == {"a": "b", "app": "s"}
    assert [ref.kind for ref in made.metadata.owner_references] == ["StatefulSet"]
