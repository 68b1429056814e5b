"""What a cluster remembers of itself, over releases."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tiphys.cluster import state
from tiphys.cluster.state import Cluster, ClusterError, load, remember


def test_a_cluster_is_read_as_it_was_saved(tmp_path: Path) -> None:
    saved = Cluster("c", str(tmp_path), port=7443, nodes=2, ip_family="dual")
    saved.save()
    assert load("c", tmp_path) == saved


def test_an_earlier_release_can_read_what_is_as_before(tmp_path: Path) -> None:
    plain = Cluster("c", str(tmp_path), number=3)
    plain.save()
    said = json.loads((tmp_path / "cluster.json").read_text())
    assert "ip_family" not in said and said["number"] == 3 and load("c", tmp_path) == plain


def test_a_cluster_of_a_later_release_is_refused_and_keeps_its_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "home", lambda: tmp_path / "home")
    later = Cluster("later", str(tmp_path / "later"))
    remember(later)
    file = later.root / "cluster.json"
    said = json.loads(file.read_text())
    file.write_text(json.dumps(said | {"of_the_next_release": True}))
    with pytest.raises(ClusterError, match="it has of_the_next_release"):
        load("later")
    other = Cluster("other", str(tmp_path / "other"))
    remember(other)
    assert (later.number, other.number) == (0, 1)
