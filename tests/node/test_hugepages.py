"""Sizes of huge pages, and who may use them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.builders import pod
from tiphys.api import core_v1
from tiphys.node.hugepages import (
    kernel_name,
    limits,
    page_size,
    set_aside,
    volume_page_size,
)

MIB = 1 << 20


def test_what_the_kernel_has_set_aside_is_by_size(tmp_path: Path) -> None:
    for size, count in ((2048, "3"), (1048576, "0"), (64, "")):
        folder = tmp_path / f"hugepages-{size}kB"
        folder.mkdir()
        (folder / "nr_hugepages").write_text(count)
    (tmp_path / "hugepages-32768kB").mkdir()
    assert set_aside(tmp_path) == {
        "hugepages-1Gi": 0,
        "hugepages-2Mi": 6 * MIB,
        "hugepages-32Mi": 0,
        "hugepages-64Ki": 0,
    }
    assert set_aside(tmp_path / "none") == {}


@pytest.mark.parametrize(
    ("resource", "size", "name"),
    [
        ("hugepages-64Ki", 65536, "64KB"),
        ("hugepages-2Mi", 2 * MIB, "2MB"),
        ("hugepages-2048Ki", 2 * MIB, "2MB"),
        ("hugepages-512Mi", 512 * MIB, "512MB"),
        ("hugepages-1Gi", 1 << 30, "1GB"),
    ],
)
def test_sizes_have_the_names_of_the_kernel(resource: str, size: int, name: str) -> None:
    assert (page_size(resource), kernel_name(resource)) == (size, name)


def test_what_is_not_asked_for_is_nothing() -> None:
    asked = {"hugepages-2Mi": "4Mi", "memory": "1Gi", "hugepages-16Ki": "1Mi"}
    assert limits(asked, ("hugepages-2Mi", "hugepages-1Gi")) == {"2MB": 4 * MIB, "1GB": 0}


def asking(*of_containers: dict[str, str], whole: dict[str, str] | None = None) -> core_v1.PodSpec:
    containers: list[dict[str, Any]] = [
        {"name": f"c{n}", "image": "i", "resources": {"requests": requests}}
        for n, requests in enumerate(of_containers)
    ]
    more = {"resources": {"requests": whole}} if whole else {}
    first, *others = containers
    return pod(containers=[first], initContainers=others, **more).spec


TWO, ONE = {"hugepages-2Mi": "4Mi"}, {"hugepages-1Gi": "1Gi"}


@pytest.mark.parametrize(
    ("spec", "medium", "expected"),
    [
        (asking(TWO), "HugePages", 2 * MIB),
        (asking(TWO), "HugePages-2Mi", 2 * MIB),
        (asking({}, TWO), "HugePages", 2 * MIB),
        (asking({}, whole=TWO), "HugePages", 2 * MIB),
        (asking(TWO, ONE), "HugePages-1Gi", 1 << 30),
        (asking(TWO, ONE), "HugePages", "asks for huge pages of several sizes"),
        (asking({"memory": "1Gi"}), "HugePages", "asks for no huge pages"),
        (asking(TWO), "HugePages-1Gi", "does not ask for huge pages of this size"),
        (asking(TWO), "HugePages-much", "HugePages-much has no size of pages"),
        (asking(TWO), "HugePagesX", "HugePagesX has no size"),
    ],
)
def test_a_volume_has_pages_that_its_pod_asks_for(
    spec: core_v1.PodSpec, medium: str, expected: int | str
) -> None:
    if isinstance(expected, int):
        assert volume_page_size(spec, medium) == expected
        return
    with pytest.raises(ValueError, match=expected):
        volume_page_size(spec, medium)
