"""Users' own manifests, and those that are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.addons.karpenter.originals import ROOT, needs_originals
from tests.addons.karpenter.world import CLASS, POOL, world
from tiphys.addons import karpenter
from tiphys.addons.karpenter.types import NodePool
from tiphys.addons.karpenter.types.ec2 import EC2NodeClass
from tiphys.machinery import conditions
from tiphys.machinery.errors import StatusError, is_already_exists
from tiphys.operator.run import install
from tiphys.testing import LocalCluster


def documents(file: Path) -> list[dict[str, Any]]:
    return [each for each in yaml.safe_load_all(file.read_text()) if each]


def is_broken(document: dict[str, Any]) -> bool:
    """Some samples name a group with a version, which the original definition refuses, too."""
    spec = document.get("spec", {}).get("template", {}).get("spec", {})
    return "/" in spec.get("nodeClassRef", {}).get("group", "")


@needs_originals
async def test_the_samples_apply_unchanged() -> None:
    assert ROOT is not None
    files = sorted((ROOT / "samples").glob("*.yaml"))
    assert len(files) > 25
    async with world() as w:
        for file in files:
            for document in documents(file):
                if document["kind"] not in ("NodePool", "EC2NodeClass"):
                    continue  # workloads, for which this add-on is nothing special
                if is_broken(document):
                    with pytest.raises(StatusError, match=r"nodeClassRef\.group"):
                        await w.client.create(document)
                    continue
                try:
                    await w.client.create(document)
                except StatusError as error:
                    assert is_already_exists(error)  # several have a class of the same name
        pools = (await w.client.list(NodePool)).items

        async def all_say_so() -> bool:
            found = (await w.client.list(NodePool)).items
            classes = (await w.client.list(EC2NodeClass)).items
            states = [conditions.find(each.status.conditions, "NodeClassReady") for each in found]
            ready = [conditions.find(each.status.conditions, "Ready") for each in classes]
            return all(
                one is not None and one.reason == "UnsupportedNodeClass"
                for one in (*states, *ready)
            )

        await w.cluster.eventually(all_say_so)
        assert pools and not await w.claims()


BAD: tuple[tuple[dict[str, Any], str], ...] = (
    (
        {"disruption": {"budgets": [{"nodes": "1", "schedule": "@daily"}]}},
        "'schedule' must be set with 'duration'",
    ),
    (
        {"disruption": {"budgets": [{"nodes": "1", "duration": "8h"}]}},
        "'schedule' must be set with 'duration'",
    ),
    ({"disruption": {"budgets": [{"nodes": "101%"}]}}, "spec.disruption.budgets[0].nodes"),
    (
        {"disruption": {"budgets": [{"nodes": "1", "reasons": ["Whim"]}]}},
        "spec.disruption.budgets[0].reasons[0]",
    ),
    ({"disruption": {"consolidateAfter": "10d"}}, "spec.disruption.consolidateAfter"),
    ({"disruption": {"consolidateAfter": "never"}}, "spec.disruption.consolidateAfter"),
    ({"weight": 101}, "spec.weight"),
    ({"replicas": 1, "weight": 5}, "'weight' is not supported on static NodePools"),
    (
        {"replicas": 1, "limits": {"cpu": "1"}},
        "only 'limits.nodes' is supported on static NodePools",
    ),
)
BAD_TEMPLATES: tuple[tuple[dict[str, Any], str], ...] = (
    ({"expireAfter": "10d"}, "spec.template.spec.expireAfter"),
    ({"terminationGracePeriod": "Never"}, "spec.template.spec.terminationGracePeriod"),
    (
        {"requirements": [{"key": "a", "operator": "In"}]},
        "requirements with operator 'In' must have a value defined",
    ),
    (
        {"requirements": [{"key": "a", "operator": "Gt", "values": ["1", "2"]}]},
        "must have a single positive integer value",
    ),
    (
        {"requirements": [{"key": "a", "operator": "In", "values": ["x"], "minValues": 2}]},
        "must have at least that many values",
    ),
    (
        {"requirements": [{"key": "karpenter.sh/nodepool", "operator": "Exists"}]},
        'label "karpenter.sh/nodepool" is restricted',
    ),
    (
        {"requirements": [{"key": "karpenter.sh/mine", "operator": "Exists"}]},
        'label domain "karpenter.sh" is restricted',
    ),
    (
        {"requirements": [{"key": "kubernetes.io/hostname", "operator": "Exists"}]},
        'label "kubernetes.io/hostname" is restricted',
    ),
    ({"nodeClassRef": {"group": "", "kind": "K", "name": "n"}}, "group may not be empty"),
)


async def test_what_karpenter_refuses_is_refused() -> None:
    async with LocalCluster() as cluster:
        await install(cluster.client, karpenter.definitions(), "test")
        good = yaml.safe_load(POOL)
        specs = [({**good["spec"], **change}, message) for change, message in BAD]
        for change, message in BAD_TEMPLATES:
            template = {"spec": {**good["spec"]["template"]["spec"], **change}}
            specs.append(({**good["spec"], "template": template}, message))
        for spec, message in specs:
            with pytest.raises(StatusError) as refused:
                await cluster.client.create({**good, "spec": spec})
            assert refused.value.code == 422 and message in str(refused.value)


async def test_a_budget_that_cannot_be_understood_is_reported_and_defaults_are_filled_in() -> None:
    async with world() as w:
        await w.apply(CLASS)
        await w.apply(
            POOL,
            disruption={"budgets": [{"nodes": "100%", "schedule": "61 * * * *", "duration": "1h"}]},
        )
        await w.cluster.eventually(lambda: w.events("InvalidBudget"))
        await w.apply(POOL.replace("name: default}\nspec", "name: other}\nspec"))
        other = await w.get_pool("other")
        assert other.spec.disruption.consolidate_after == "0s"
        assert [budget.nodes for budget in other.spec.disruption.budgets] == ["10%"]
        assert other.spec.template.spec.expire_after == "720h"
