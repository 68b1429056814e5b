"""What a cluster remembers of itself, over releases."""

from __future__ import annotations

import json
from pathlib import Path

from tiphys.cluster.state import Cluster, load


def test_a_cluster_is_read_as_it_was_saved(tmp_path: Path) -> None:
    saved = Cluster("c", str(tmp_path), port=7443, nodes=2, ip_family="dual")
    saved.save()
    assert load("c", tmp_path) == saved


def test_earlier_and_later_releases_read_each_others_files(tmp_path: Path) -> None:
    """One that cannot be read gives its number away to the next cluster."""
    plain = Cluster("c", str(tmp_path), number=3)
    plain.save()
    file = tmp_path / "cluster.json"
    said = json.loads(file.read_text())
    assert "ip_family" not in said and said["number"] == 3
    file.write_text(json.dumps(said | {"of_the_next_release": True}))
    assert load("c", tmp_path) == plain
