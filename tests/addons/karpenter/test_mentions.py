"""Which labels of nodes pods, and the volumes that they need, speak of."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.addons.karpenter.builders import pod
from tiphys.addons.karpenter.mentions import mentions, places
from tiphys.api import core_v1, storage_v1
from tiphys.api.base import from_builtins
from tiphys.scheduler.podinfo import PodInfo

ZONE = "topology.kubernetes.io/zone"


def expression(key: str, operator: str = "In", *values: str) -> dict[str, Any]:
    return {"key": key, "operator": operator, "values": list(values)}


def affine(required: Any = (), preferred: Any = ()) -> PodInfo:
    terms = {"nodeSelectorTerms": [{"matchExpressions": [one]} for one in required]}
    wishes = [{"weight": 1, "preference": {"matchExpressions": [one]}} for one in preferred]
    nodes = {
        "requiredDuringSchedulingIgnoredDuringExecution": terms if required else None,
        "preferredDuringSchedulingIgnoredDuringExecution": wishes,
    }
    affinity = from_builtins({"nodeAffinity": nodes}, core_v1.Affinity)
    return PodInfo(pod("p", affinity=affinity))


class Volumes:
    """What the claims of every pod are bound to: a volume, or a class, or neither."""

    def __init__(self, volume: Any = None, class_: Any = None) -> None:
        self.volume, self.class_ = volume, class_

    def claims_of(self, of: Any) -> list[Any]:
        return [SimpleNamespace()]

    def volume_of(self, claim: Any) -> Any:
        return self.volume

    def class_of(self, claim: Any) -> Any:
        return self.class_


def said(one: PodInfo, volumes: Volumes | None = None) -> dict[str, set[str]]:
    return mentions([one], cast(Any, volumes or Volumes()))


@pytest.mark.parametrize(
    ("one", "found"),
    [
        (PodInfo(pod("p")), {}),
        (PodInfo(pod("p", node_selector={"a": "b"})), {"a": {"b"}}),
        (PodInfo(pod("p", spread="zone")), {"zone": set()}),
        (affine([expression("a", "In", "x", "y")]), {"a": {"x", "y"}}),
        (affine([], [expression("a", "NotIn", "x")]), {"a": {"x"}}),
        (affine([expression("a", "Exists")]), {"a": set()}),
        (affine([expression("a", "Gt", "4")]), {"a": {"5"}}),
        (affine([expression("a", "Lt", "4")]), {"a": {"3"}}),
        (affine([expression("a", "Lt", "x")]), {"a": set()}),
        (
            affine([expression("a", "In", "x")], [expression("a", "In", "y")]),
            {"a": {"x", "y"}},
        ),
        (
            PodInfo(pod("p", node_selector={"beta.kubernetes.io/os": "x"})),
            {"kubernetes.io/os": {"x"}},
        ),
    ],
)
def test_a_pod_names_labels_and_values(one: PodInfo, found: dict[str, set[str]]) -> None:
    """Of a bound it names the first number beyond it, for there are machines that differ in it."""
    assert said(one) == found


def with_claim() -> PodInfo:
    source = {"name": "v", "persistentVolumeClaim": {"claimName": "c"}}
    return PodInfo(pod("p", volumes=[from_builtins(source, core_v1.Volume)]))


def volume(*expressions: Any) -> core_v1.PersistentVolume:
    terms = [{"matchExpressions": [one]} for one in expressions]
    affinity = {"nodeAffinity": {"required": {"nodeSelectorTerms": terms}}} if terms else {}
    return from_builtins({"spec": affinity}, core_v1.PersistentVolume)


def storage_class(*zones: str) -> storage_v1.StorageClass:
    topology = {"matchLabelExpressions": [{"key": ZONE, "values": list(zones)}]}
    row = {"provisioner": "p", "allowedTopologies": [topology] if zones else []}
    return from_builtins(row, storage_v1.StorageClass)


@pytest.mark.parametrize(
    ("volumes", "found"),
    [
        (Volumes(volume(expression(ZONE, "In", "a"))), {ZONE: {"a"}}),
        (Volumes(volume(), storage_class("a")), {}),
        (Volumes(None, storage_class("a", "b")), {ZONE: {"a", "b"}}),
        (Volumes(None, storage_class()), {}),
        (Volumes(), {}),
    ],
)
def test_volumes_are_where_they_are_or_where_their_class_has_them(
    volumes: Volumes, found: dict[str, set[str]]
) -> None:
    assert said(with_claim(), volumes) == found
    assert places([with_claim()], cast(Any, volumes)) == set(found)
    assert said(PodInfo(pod("p")), volumes) == {}, "it has no claim"


@pytest.mark.parametrize("kind", ["podAffinity", "podAntiAffinity"])
@pytest.mark.parametrize("is_must", [True, False])
def test_pods_are_near_others_or_apart_by_labels(kind: str, is_must: bool) -> None:
    term = {"topologyKey": "failure-domain.beta.kubernetes.io/zone", "labelSelector": {}}
    rows = (
        {"requiredDuringSchedulingIgnoredDuringExecution": [term]}
        if is_must
        else {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": 1, "podAffinityTerm": term}
            ]
        }
    )
    one = PodInfo(pod("p", affinity=from_builtins({kind: rows}, core_v1.Affinity)))
    assert places([one], cast(Any, Volumes())) == {ZONE}
    assert places([PodInfo(pod("p", node_selector={"a": "b"}))], cast(Any, Volumes())) == set()
