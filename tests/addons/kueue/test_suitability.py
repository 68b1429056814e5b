"""Whether pods may be on a flavor's nodes, by Kueue's rules: what a pod says of labels that a flavor
does not have counts for nothing here."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.addons.kueue.core.state import Flavor
from tiphys.addons.kueue.core.suitability import obstacle_to
from tiphys.api import core_v1
from tiphys.api.base import from_builtins

AFFINITY = "flavor f doesn't match node affinity"
TAINT = {"key": "gpu", "value": "yes", "effect": "NoSchedule"}


def flavor(labels: Any = None, taints: Any = (), tolerations: Any = ()) -> Flavor:
    return Flavor(
        labels or {},
        tuple(from_builtins(one, core_v1.Taint) for one in taints),
        tuple(from_builtins(one, core_v1.Toleration) for one in tolerations),
    )


def spec(**fields: Any) -> core_v1.PodSpec:
    made: core_v1.PodSpec = from_builtins(fields, core_v1.PodSpec)
    return made


def test_a_flavor_that_there_is_not_is_named() -> None:
    assert obstacle_to("f", None, spec()) == "flavor f not found"


@pytest.mark.parametrize(
    ("taint", "tolerations", "of_flavor", "obstacle"),
    [
        (TAINT, [], [], "untolerated taint {gpu=yes:NoSchedule} in flavor f"),
        ({**TAINT, "value": ""}, [], [], "untolerated taint {gpu:NoSchedule} in flavor f"),
        (
            {**TAINT, "effect": "NoExecute"},
            [],
            [],
            "untolerated taint {gpu=yes:NoExecute} in flavor f",
        ),
        ({**TAINT, "effect": "PreferNoSchedule"}, [], [], ""),
        (TAINT, [{"key": "gpu", "operator": "Exists"}], [], ""),
        (TAINT, [], [{"key": "gpu", "operator": "Exists"}], ""),
        (
            TAINT,
            [{"key": "gpu", "value": "no"}],
            [],
            "untolerated taint {gpu=yes:NoSchedule} in flavor f",
        ),
    ],
)
def test_taints_are_tolerated_by_the_pod_or_its_flavor(
    taint: Any, tolerations: Any, of_flavor: Any, obstacle: str
) -> None:
    made = flavor({}, [taint], of_flavor)
    assert obstacle_to("f", made, spec(tolerations=tolerations)) == obstacle


def required(*terms: list[tuple[str, str, list[str]]]) -> dict[str, Any]:
    rows = [
        {"matchExpressions": [{"key": k, "operator": o, "values": v} for k, o, v in term]}
        for term in terms
    ]
    node = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": rows}}
    return {"affinity": {"nodeAffinity": node}}


IN_A, IN_B = ("zone", "In", ["a"]), ("zone", "In", ["b"])
OTHER = ("disk", "In", ["fast"])


@pytest.mark.parametrize(
    ("pod", "obstacle"),
    [
        ({}, ""),
        ({"nodeSelector": {"zone": "a"}}, ""),
        ({"nodeSelector": {"zone": "b"}}, AFFINITY),
        ({"nodeSelector": {"disk": "fast"}}, ""),
        ({"nodeSelector": {"disk": "fast", "zone": "b"}}, AFFINITY),
        (required([IN_A]), ""),
        (required([IN_B]), AFFINITY),
        (required([OTHER]), ""),
        (required([IN_B, OTHER]), AFFINITY),
        (required([IN_A, OTHER]), ""),
        (required([IN_B], [IN_A]), ""),
        (required([IN_B], [OTHER]), ""),
        (required([IN_B], [IN_B]), AFFINITY),
        (required([("zone", "NotIn", ["a"])]), AFFINITY),
        (required([("zone", "Unheard", ["a"])]), AFFINITY),
        ({"affinity": {}}, ""),
        ({"affinity": {"nodeAffinity": {}}}, ""),
        ({**required([IN_A]), "nodeSelector": {"zone": "b"}}, AFFINITY),
    ],
)
def test_a_pod_goes_where_its_flavors_labels_let_it(pod: Any, obstacle: str) -> None:
    assert obstacle_to("f", flavor({"zone": "a"}), spec(**pod)) == obstacle
