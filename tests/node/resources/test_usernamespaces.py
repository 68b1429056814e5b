"""Users and groups of pods that have their own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tiphys.node.abilities import IdRange
from tiphys.node.resources.usernamespaces import LENGTH, NoRangeLeft, UserNamespaces


def namespaces(root: Path, most: int = 3) -> UserNamespaces:
    return UserNamespaces(lambda uid: root / uid, most)


def test_each_pod_has_users_of_its_own_and_none_those_of_the_machine(tmp_path: Path) -> None:
    node = namespaces(tmp_path)
    given = [node.take(uid) for uid in ("a", "b", "c", "a")]
    assert [one.first for one in given] == [LENGTH, 2 * LENGTH, 3 * LENGTH, LENGTH]
    with pytest.raises(NoRangeLeft, match="could not find an empty slot"):
        node.take("d")


def test_the_range_of_a_pod_whose_folder_is_gone_is_free(tmp_path: Path) -> None:
    node = namespaces(tmp_path)
    for uid in ("a", "b", "c"):
        node.take(uid)
    shutil.rmtree(tmp_path / "b")
    assert node.take("d").first == 2 * LENGTH
    assert node.taken("b") is None


def test_ranges_outlive_the_agent(tmp_path: Path) -> None:
    namespaces(tmp_path).take("a")
    again = namespaces(tmp_path)
    again.load(["a", "x"])
    assert again.taken("a") == IdRange(LENGTH, LENGTH)
    assert again.take("b").first == 2 * LENGTH


def test_the_file_is_as_upstream_writes_it(tmp_path: Path) -> None:
    namespaces(tmp_path).take("a")
    mapping = [{"hostId": LENGTH, "containerId": 0, "length": LENGTH}]
    written = json.loads((tmp_path / "a" / "userns").read_text())
    assert written == {"uidMappings": mapping, "gidMappings": mapping}


@pytest.mark.parametrize(
    "mapping", [{}, {"hostId": 0, "containerId": 0, "length": LENGTH}, {"hostId": LENGTH}, 7, None]
)
def test_a_file_of_somebody_else_is_not_believed(tmp_path: Path, mapping: Any) -> None:
    (tmp_path / "a").mkdir()
    document = {"uidMappings": [mapping], "gidMappings": [mapping]}
    (tmp_path / "a" / "userns").write_text(json.dumps(document))
    node = namespaces(tmp_path)
    node.load(["a"])
    assert node.taken("a") is None
