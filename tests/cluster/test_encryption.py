"""The configuration that `tiphys up --encrypt` makes, and what is refused before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tiphys.cluster import encryption, plan, rotation
from tiphys.cluster.state import Cluster, ClusterError


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    made = Cluster("mine", str(tmp_path), runtime="none")
    made.encryption_config = str(encryption.own_file(made))
    return made


def test_a_new_cluster_gets_a_key_that_only_its_owner_can_read(cluster: Cluster) -> None:
    encryption.check(cluster)
    encryption.ensure(cluster)
    file = encryption.own_file(cluster)
    first = file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600 and "secretbox" in first
    encryption.ensure(cluster)
    assert file.read_text() == first, "the next start keeps the key"
    encryption.check(cluster)
    [server] = [one for one in plan.processes(cluster) if one.name == "apiserver"]
    assert str(file) in server.command


def test_a_lost_key_is_not_replaced_by_a_new_one(cluster: Cluster) -> None:
    cluster.save()
    with pytest.raises(ClusterError, match="cannot be read without its keys"):
        encryption.check(cluster)


def test_a_configuration_of_the_users_is_not_rotated_for_them(cluster: Cluster) -> None:
    cluster.encryption_config = "/etc/mine.yaml"
    with pytest.raises(ClusterError, match="put a new key before the others there"):
        rotation.rotate(cluster)
    cluster.encryption_config = ""
    with pytest.raises(ClusterError, match="is not encrypted; begin with"):
        rotation.rewrite(cluster)


def test_a_new_key_goes_first_and_has_the_next_number(cluster: Cluster) -> None:
    encryption.ensure(cluster)
    configuration = encryption.read(cluster)
    rotation._add_keys(configuration)
    encryption.write(encryption.own_file(cluster), configuration)
    keys = encryption.read(cluster).resources[0].providers[0].secretbox
    assert keys is not None and [key.name for key in keys.keys] == ["key2", "key1"]
