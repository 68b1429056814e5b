"""The keys of a cluster on their way to another machine of its control plane."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from tiphys.cluster import credentials, sharing
from tiphys.cluster.certificates import Authority
from tiphys.cluster.state import Cluster, ClusterError, Joined

KEY = "0123456789abcdef" * 4


@pytest.fixture
def first(tmp_path: Path) -> Cluster:
    made = Cluster("first", str(tmp_path / "first"), store="etcd", machine_address="127.0.0.1")
    made.pki.mkdir(parents=True)
    credentials.ensure(made)
    return made


def joined(tmp_path: Path, authority: bytes) -> Cluster:
    made = Cluster("second", str(tmp_path / "second"), machine_address="127.0.0.2", number=3)
    made.joined = Joined(
        "two", ["127.0.0.1:6443"], "10.96.0.0/16", "10.96.0.10", "x", ["10.0.0.0/8"]
    )
    made.pki.mkdir(parents=True)
    (made.pki / "ca.crt").write_bytes(authority)
    return made


def test_what_is_sealed_is_what_is_unsealed(first: Cluster) -> None:
    shared = sharing.contents(first)
    data = sharing.seal(shared, KEY)
    assert sharing.unseal(data, KEY) == shared
    assert not any(b"PRIVATE" in base64.b64decode(text) for text in data.values())
    assert all("/" not in key and not key.startswith("..") for key in data)


def test_another_key_or_another_name_opens_nothing(first: Cluster) -> None:
    data = sharing.seal(sharing.contents(first), KEY)
    moved = {**data, "ca.key": data["sa.key"]}
    for tampered, key in ((data, "00" * 32), (moved, KEY), (data, "short"), ({"a": "AA"}, KEY)):
        with pytest.raises(ClusterError, match="does not open the cluster's keys"):
            sharing.unseal(tampered, key)


def test_a_machine_that_was_given_the_keys_signs_as_the_first(
    first: Cluster, tmp_path: Path
) -> None:
    second = joined(tmp_path, (first.pki / "ca.crt").read_bytes())
    sharing.take(second, sharing.contents(first))
    credentials.ensure(second)
    assert second.is_replicated and second.control is not None
    assert second.joining_pods == first.joining_pods
    for folder in ("", "etcd", "front-proxy"):
        ours, theirs = (Authority(each.pki / folder).path.read_bytes() for each in (first, second))
        assert ours == theirs
    assert (second.pki / "etcd" / "peer.crt").exists() and (second.pki / "apiserver.crt").exists()
    assert not (second.pki / "node.crt").exists()  # a node asks for its own


def test_keys_of_another_cluster_are_refused(first: Cluster, tmp_path: Path) -> None:
    second = joined(tmp_path, b"another")
    with pytest.raises(ClusterError, match="of another authority"):
        sharing.take(second, sharing.contents(first))
    with pytest.raises(ClusterError, match="not whole"):
        sharing.take(second, {"ca.crt": b"another"})
    assert not (second.pki / "ca.key").exists() and second.control is None
