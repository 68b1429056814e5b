"""Certificates that are renewed before they end, while they are in use."""

from __future__ import annotations

import asyncio
import datetime
import ssl
import time
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from cryptography import x509

from tiphys.api import core_v1
from tiphys.cli.main import cli
from tiphys.client import certfiles
from tiphys.cluster import credentials, kubeconfig, renewal, supervisor
from tiphys.cluster.certificates import Authority
from tiphys.cluster.state import Cluster
from tiphys.testing import LocalCluster
from tiphys.testing.cluster import free_port

HOUR = datetime.timedelta(hours=1)


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    made = Cluster("mine", str(tmp_path / "data"), free_port(), "hollow")
    made.save()
    credentials.ensure(made)
    kubeconfig.merge(made)
    return made


def serials(cluster: Cluster) -> dict[str, int]:
    files = cluster.pki.rglob("*.crt")
    return {f.name: x509.load_pem_x509_certificate(f.read_bytes()).serial_number for f in files}


def renewed(cluster: Cluster, days: float = 0, renews_all: bool = False) -> set[str]:
    """The files that a renewal makes anew."""
    cluster.certificate_days = days
    before = serials(cluster)
    renewal.renew(cluster, renews_all)
    after = serials(cluster)
    return {name for name in before if before[name] != after[name]}


def test_nothing_is_renewed_before_two_thirds_of_its_life(cluster: Cluster) -> None:
    assert not renewed(cluster)
    assert {row.file for row in renewal.rows(cluster) if row.due is None} == {
        "ca.crt",
        "front-proxy/ca.crt",
    }
    row = renewal.rows(cluster)[0]
    assert row.due is not None and row.end - row.due == (365 * 24 * HOUR) / 3


def test_what_is_due_is_renewed_and_authorities_stay(cluster: Cluster) -> None:
    all_but_authorities = serials(cluster).keys() - {"ca.crt"}
    assert renewed(cluster, days=1e-7, renews_all=True) == all_but_authorities
    assert renewed(cluster) == all_but_authorities, "a hundredth of a second was all they had"
    assert not renewed(cluster)


def test_the_administrators_certificate_in_the_kubeconfig_is_the_new_one(cluster: Cluster) -> None:
    before = yaml.safe_load(kubeconfig.user_file().read_text())
    before["current-context"] = "another"
    kubeconfig.user_file().write_text(yaml.safe_dump(before))
    renewal.renew(cluster, renews_all=True)
    after = yaml.safe_load(kubeconfig.user_file().read_text())
    assert after["current-context"] == "another" and after["clusters"] == before["clusters"]
    assert after["users"] == kubeconfig.admin(cluster)["users"] != before["users"]


def test_the_command_lists_when_certificates_end(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tiphys.cli.keeping.with_server", lambda name: cluster)
    said = CliRunner().invoke(cli, ["certificates", "--name", "mine"]).output
    assert "apiserver.crt" in said and "an authority" in said and "CN=kubernetes-admin" in said
    assert "are new" in CliRunner().invoke(cli, ["certificates", "renew"]).output


def test_the_supervisor_renews_when_the_wall_clock_says_so(cluster: Cluster) -> None:
    cluster.certificate_days = 1e-7
    credentials.ensure(cluster, renews_all=True)
    cluster.certificate_days = 0
    before = serials(cluster)
    watching = supervisor.Supervisor(cluster.root, [])
    for due, is_new in ((time.time() + 3600, False), (time.time() - 1, True)):
        (cluster.root / supervisor.RENEW_AT).write_text(str(due))
        watching._renew()
        if watching._renewal is not None:
            assert watching._renewal.wait(60) == 0
        assert (serials(cluster)["apiserver.crt"] != before["apiserver.crt"]) == is_new
    assert float((cluster.root / supervisor.RENEW_AT).read_text()) > time.time() + 200 * 24 * 3600
    watching._renew()
    assert watching._renewal is None


def shown_by(cluster: LocalCluster) -> int:
    """The serial number of the certificate that the server shows to a new connection."""
    pem = ssl.get_server_certificate(("127.0.0.1", cluster.port))
    return x509.load_pem_x509_certificate(pem.encode()).serial_number


async def test_a_server_shows_its_new_certificate_and_ends_no_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(certfiles, "EVERY", 0.02)
    async with LocalCluster() as cluster:
        pki = cluster.root / "pki"
        watch = cluster.client.watch(core_v1.Namespace, revision="0", timeout=60)
        await anext(watch)
        old = await asyncio.to_thread(shown_by, cluster)
        Authority(pki, renews_all=True).ensure(
            "apiserver", "kube-apiserver", (), ("localhost", "127.0.0.1"), server=True
        )

        async def is_new() -> bool:
            return await asyncio.to_thread(shown_by, cluster) != old

        await cluster.eventually(is_new)
        namespace = core_v1.Namespace()
        namespace.metadata.name = "later"
        await cluster.client.create(namespace)
        async for event in watch:
            if event.obj.metadata.name == "later":
                break


async def test_a_client_whose_certificate_ends_goes_on_with_the_renewed_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The server looks at the end of a certificate with each request, on open connections, too."""
    monkeypatch.setattr(certfiles, "EVERY", 0.02)
    async with LocalCluster() as cluster:
        client = cluster.client
        watch = client.watch(core_v1.Namespace, revision="0", timeout=60)
        await anext(watch)
        first = client._http()
        Authority(cluster.root / "pki", renews_all=True).ensure(
            "kubernetes-admin", "kubernetes-admin", ("system:masters",)
        )
        await cluster.eventually(lambda: client._session is None)
        namespace = core_v1.Namespace()
        namespace.metadata.name = "later"
        await client.create(namespace)
        assert client._http() is not first and not first.closed
        async for event in watch:
            if event.obj.metadata.name == "later":
                break
        await watch.aclose()
        await client._close_retired(0.0)
        assert first.closed


async def test_half_a_pair_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key is written before the certificate: what is loaded in between must not be used."""
    certificate, key = Authority(tmp_path).ensure("a", "a")
    other = Authority(tmp_path).issue("b")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    follower = certfiles._Follower(context, certificate, key, None, lambda: None)
    key.write_bytes(other.key)
    follower._look(context)
    assert follower._loaded is None
    certificate.write_bytes(other.certificate)
    follower._look(context)
    assert follower._loaded is not None
