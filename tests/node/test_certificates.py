"""A node's certificates, asked of a real API server and renewed before they end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.builders import node
from tiphys.api import core_v1
from tiphys.api.certificates_v1 import CertificateSigningRequest
from tiphys.client.client import Client
from tiphys.client.tasks import TaskGroup
from tiphys.node import certificates
from tiphys.node.certificates import (
    CertificateError,
    Rotation,
    Wanted,
    node_client,
    node_server,
    obtain,
    policy_client,
    read,
    says,
)
from tiphys.testing import LocalCluster

HOUR = 3600.0


@pytest.fixture
async def server() -> AsyncIterator[LocalCluster]:
    """An API server with its controllers."""
    async with LocalCluster(controllers=True) as cluster:
        yield cluster


async def member(server: LocalCluster, name: str = "n1", address: str = "192.0.2.7") -> Client:
    """A node that has registered."""
    made = node(name)
    made.status.addresses = [core_v1.NodeAddress(type="InternalIP", address=address)]
    await server.client.create(made)
    return server.client_as(f"system:node:{name}", ("system:nodes",))


async def test_a_node_gets_what_is_its_own(server: LocalCluster, tmp_path: Path) -> None:
    client = await member(server)
    for wanted in (node_client("n1"), node_server("n1", "192.0.2.7"), policy_client()):
        certificates.write(tmp_path / "c.pem", await obtain(client, wanted))
        certificate = read(tmp_path / "c.pem")
        assert certificate is not None and says(certificate, wanted)
        assert (tmp_path / "c.pem").stat().st_mode & 0o777 == 0o600
        assert not says(certificate, node_server("n1", "192.0.2.8"))


OTHERS = {
    node_server("n1", "127.0.0.1"): "was not approved",
    node_server("n1", "192.0.2.8"): "was not approved",
    node_server("n2", "192.0.2.7"): "can only create a node CSR with CN=system:node:n1",
    node_client("n2"): "can only create a node CSR with CN=system:node:n1",
    Wanted(certificates.CLIENT, "kubernetes-admin", ("system:masters",)): "system:masters",
    Wanted(certificates.CLIENT, "jane"): "was not approved",
}


async def test_a_node_gets_nothing_of_others(server: LocalCluster) -> None:
    client = await member(server)
    asked = (obtain(client, wanted, patience=1.0) for wanted in OTHERS)
    answers = await asyncio.gather(*asked, return_exceptions=True)
    for answer, refusal in zip(answers, OTHERS.values(), strict=True):
        assert isinstance(answer, Exception) and refusal in str(answer)


async def test_a_request_that_is_denied_says_why(server: LocalCluster) -> None:
    client = await member(server)
    asked = server.tasks.start(obtain(client, Wanted(certificates.CLIENT, "jane")), "asked")

    async def pending() -> CertificateSigningRequest | None:
        listed = (await server.client.list(CertificateSigningRequest)).items
        return next(iter(listed), None)

    csr = await server.eventually(pending)
    denied = core_v1.NodeCondition(type="Denied", status="True", reason="No", message="not you")
    csr.status.conditions = [denied]
    await server.client.update(csr, "approval")
    with pytest.raises(CertificateError, match="not you"):
        await asked


async def test_a_certificate_is_renewed_in_the_last_third_of_its_life(
    server: LocalCluster, tmp_path: Path
) -> None:
    client = await member(server)
    path, renewals = tmp_path / "c.pem", list[bytes]()

    def renewed() -> None:
        renewals.append(path.read_bytes())
        clock["ahead"] = 0.0

    clock = {"ahead": 0.0}
    rotation = Rotation(
        client, path, node_client("n1"), renewed, lambda: time.time() + clock["ahead"]
    )
    await rotation.ensure()
    first = path.read_bytes()
    assert 0.69 < rotation.seconds_left() / (365 * 24 * HOUR) < 0.91
    await rotation.ensure()
    assert path.read_bytes() == first
    clock["ahead"] = 0.91 * 365 * 24 * HOUR
    tasks = TaskGroup("rotation")
    tasks.start(rotation.run(), "run")
    await server.eventually(lambda: renewals)
    await tasks.stop()
    assert renewals[0] != first and read(path) is not None


@pytest.mark.parametrize(
    "spoil", [b"", b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"]
)
def test_a_file_that_is_damaged_is_none(tmp_path: Path, spoil: bytes) -> None:
    (tmp_path / "c.pem").write_bytes(spoil)
    assert read(tmp_path / "c.pem") is None and read(tmp_path / "missing.pem") is None
