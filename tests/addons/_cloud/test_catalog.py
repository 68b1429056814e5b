"""What a cloud offers, of a document like `catalog.yaml`."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.addons._cloud.catalog import (
    ON_DEMAND,
    SPOT,
    Catalog,
    Offering,
    builtin,
    current,
    parse,
    with_older,
)
from tiphys.addons._cloud.quantities import quantity

GIB = 1 << 30
DOCUMENT: dict[str, Any] = {
    "region": "r",
    "zones": {"a": 1.0, "b": 1.5},
    "spot": 0.25,
    "reserved": {"cpu": "80m", "memory": "256Mi"},
    "boot": 2,
    "images": {"base": ["1", "2"]},
    "sizes": {"small": {"cpu": 2, "pods": 10}, "big": {"cpu": 4, "pods": 20}},
    "families": [
        {"name": "m1", "category": "m", "generation": 1, "memory": 4, "price": 0.1},
        {
            "name": "g1",
            "category": "g",
            "generation": 2,
            "memory": 8,
            "price": 0.2,
            "arch": "arm64",
            "gpu": {"name": "l4", "memory": 24},
            "sizes": {"big": 3},
        },
    ],
}


@pytest.fixture
def catalog() -> Catalog:
    return parse(DOCUMENT)


def test_every_family_comes_in_its_sizes(catalog: Catalog) -> None:
    assert list(catalog.by_name) == ["m1.small", "m1.big", "g1.big"]
    assert (catalog.region, catalog.boot, catalog.zones) == ("r", 2.0, {"a", "b"})
    without = {name: value for name, value in DOCUMENT.items() if name != "boot"}
    assert parse(without).boot == 0.0


def test_a_machine_has_memory_for_each_cpu(catalog: Catalog) -> None:
    small, gpu = catalog.by_name["m1.small"], catalog.by_name["g1.big"]
    assert small.capacity == {
        "cpu": 2000,
        "memory": 8 * GIB,
        "ephemeral-storage": 100 * GIB,
        "pods": 10,
    }
    assert gpu.capacity["nvidia.com/gpu"] == 3 and gpu.capacity["memory"] == 32 * GIB
    assert small.allocatable["cpu"] == 1920
    assert small.allocatable["memory"] == 8 * GIB - 256 * (1 << 20)
    assert small.allocatable["pods"] == 10


def test_a_machine_says_what_it_is(catalog: Catalog) -> None:
    of = "cloud.tiphys.dev"
    assert catalog.by_name["m1.small"].labels == {
        "node.kubernetes.io/instance-type": "m1.small",
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/os": "linux",
        f"{of}/instance-category": "m",
        f"{of}/instance-family": "m1",
        f"{of}/instance-generation": "1",
        f"{of}/instance-size": "small",
        f"{of}/instance-cpu": "2",
        f"{of}/instance-memory": "8192",
    }
    gpu = catalog.by_name["g1.big"].labels
    assert gpu["kubernetes.io/arch"] == "arm64"
    assert gpu[f"{of}/instance-gpu-name"] == "l4"
    assert gpu[f"{of}/instance-gpu-count"] == "3"
    assert gpu[f"{of}/instance-gpu-memory"] == "24576"


def test_prices_are_by_zone_and_by_how_they_are_paid(catalog: Catalog) -> None:
    assert catalog.by_name["m1.small"].offerings == (
        Offering("a", ON_DEMAND, 0.2),
        Offering("a", SPOT, 0.05),
        Offering("b", ON_DEMAND, 0.3),
        Offering("b", SPOT, 0.075),
    )


@pytest.mark.parametrize(
    "asked, price",
    [
        (("m1.small", "b", SPOT), 0.075),
        (("m1.small", "a", ON_DEMAND), 0.2),
        (("m1.small", "c", SPOT), None),
        (("m1.small", "a", "reserved"), None),
        (("m1.huge", "a", SPOT), None),
    ],
)
def test_what_is_not_offered_has_no_price(
    catalog: Catalog, asked: tuple[str, str, str], price: float | None
) -> None:
    assert catalog.price(*asked) == price


def test_labels_of_an_offering_come_to_those_of_its_type(catalog: Catalog) -> None:
    type_ = catalog.by_name["m1.small"]
    labels = type_.labels_of(type_.offerings[3], "r")
    assert labels["topology.kubernetes.io/zone"] == "b"
    assert labels["topology.kubernetes.io/region"] == "r"
    assert labels["karpenter.sh/capacity-type"] == "spot"
    assert type_.values_of("topology.kubernetes.io/zone", "r") == {"a", "b"}
    assert type_.values_of("kubernetes.io/os", "r") == {"linux"}
    assert type_.values_of("none", "r") == set()


@pytest.mark.parametrize(
    "text, image", [("base@latest", "base@2"), ("base@1", "base@1"), ("base@9", "base@9")]
)
def test_the_latest_image_is_the_newest(catalog: Catalog, text: str, image: str) -> None:
    assert catalog.image(text) == image


def test_an_image_that_there_is_not_says_which_there_are(catalog: Catalog) -> None:
    with pytest.raises(ValueError, match='there is no image "other": base'):
        catalog.image("other@latest")


def test_labels_have_the_names_that_they_had_before() -> None:
    labels = {"kubernetes.io/arch": "amd64", "a": "b"}
    assert with_older(labels) == {**labels, "beta.kubernetes.io/arch": "amd64"}
    kept = {**labels, "beta.kubernetes.io/arch": "own"}
    assert with_older(kept) == kept
    assert current("failure-domain.beta.kubernetes.io/zone") == "topology.kubernetes.io/zone"
    assert current("a") == "a"


def test_the_catalog_that_comes_with_the_cloud_is_one() -> None:
    assert builtin() is builtin()
    assert len(builtin().types) > 50 and builtin().region == "tiphys-1"


@pytest.mark.parametrize(
    "name, amount, text",
    [
        ("cpu", 1500, "1500m"),
        ("cpu", 2000, "2"),
        ("memory", 1 << 20, "1Mi"),
        ("memory", 1536, "1536"),
        ("ephemeral-storage", 2048, "2Ki"),
        ("pods", 1024, "1024"),
    ],
)
def test_amounts_are_written_as_quantities(name: str, amount: int, text: str) -> None:
    assert str(quantity(name, amount)) == text
