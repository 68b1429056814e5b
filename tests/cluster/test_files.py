"""Certificates, kubeconfig and images."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml

from tiphys.cluster import images, kubeconfig, stored
from tiphys.cluster.certificates import Authority
from tiphys.cluster.plan import etcd_ports
from tiphys.cluster.state import Cluster, ClusterError
from tiphys.store.engine import Write
from tiphys.store.sqlite import SQLiteEngine


def test_keys_are_private_and_certificates_are_kept(tmp_path: Path) -> None:
    certificate, key = Authority(tmp_path).ensure(
        "x", "me", ("group",), ("127.0.0.1",), server=True
    )
    assert (
        stat.S_IMODE(key.stat().st_mode)
        == stat.S_IMODE((tmp_path / "ca.key").stat().st_mode)
        == 0o600
    )
    before = certificate.read_bytes()
    assert (
        Authority(tmp_path)
        .ensure("x", "me", ("group",), ("127.0.0.1",), server=True)[0]
        .read_bytes()
        == before
    )
    assert (
        Authority(tmp_path)
        .ensure("x", "me", ("group",), ("10.0.0.1",), server=True)[0]
        .read_bytes()
        != before
    )


def test_only_our_entries_of_the_users_kubeconfig_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = {
        "clusters": [{"name": "work", "cluster": {"server": "https://work"}}],
        "users": [],
        "contexts": [],
        "current-context": "work",
    }
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump(theirs))
    monkeypatch.setenv("KUBECONFIG", str(path))
    cluster = Cluster("mine", str(tmp_path / "data"))
    Authority(cluster.pki).ensure("admin", "admin", ("system:masters",))
    kubeconfig.merge(cluster)
    merged = yaml.safe_load(path.read_text())
    assert [c["name"] for c in merged["clusters"]] == ["work", "mine"] and merged[
        "current-context"
    ] == "mine"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    kubeconfig.remove(cluster)
    left = yaml.safe_load(path.read_text())
    assert left["clusters"] == theirs["clusters"] and left["current-context"] == ""


@pytest.mark.skipif(sys.platform != "linux", reason="an ELF program")
def test_the_pause_program_runs_and_ends_on_a_signal(tmp_path: Path) -> None:
    program = tmp_path / "pause"
    program.write_bytes(images.pause_program())
    program.chmod(0o755)
    process = subprocess.Popen([program])
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.2)
    process.terminate()
    assert process.wait(5) == -15


def test_images_hold_what_they_were_given(tmp_path: Path) -> None:
    images.build(tmp_path / "a.tar", "x/y:1", {"bin/a": b"#!a", "bin/b": "/bin/a"}, ["/bin/a"])
    images.build(tmp_path / "b.tar", "x/y:1", {"bin/a": b"#!a", "bin/b": "/bin/a"}, ["/bin/a"])
    with tarfile.open(tmp_path / "a.tar") as one, tarfile.open(tmp_path / "b.tar") as other:
        assert one.getnames() == other.getnames() and "index.json" in one.getnames()
    assert os.path.getsize(tmp_path / "a.tar") > 0


def test_any_port_has_room_for_its_etcd() -> None:
    assert etcd_ports(6443) == (16443, 16444)
    assert all(
        0 < low < high <= 65535 for low, high in map(etcd_ports, (1, 55534, 55535, 60999, 65535))
    )


def test_what_is_no_object_is_listed_and_removed_from_outside(tmp_path: Path) -> None:
    cluster = Cluster("mine", str(tmp_path))

    async def fill() -> None:
        engine = SQLiteEngine(tmp_path / "state.db")
        await engine.open(lambda changes: None)
        for key, value in (("good", b'{"metadata":{"name":"good"}}'), ("bad", b'{"metadata":{"na')):
            await engine.commit(Write(f"/core/configmaps/default/{key}", value, 0))
        await engine.close()

    asyncio.run(fill())
    assert [(found.key, found.revision) for found in stored.check(cluster)] == [
        ("/core/configmaps/default/bad", 2)
    ]
    with pytest.raises(ClusterError, match="holds an object, or nothing"):
        stored.remove(cluster, "/core/configmaps/default/good")
    stored.remove(cluster, "/core/configmaps/default/bad")
    assert stored.check(cluster) == []
