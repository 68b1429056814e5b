"""When certificate signing requests are removed."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

import pytest
import pytest_asyncio
from cryptography import x509

from tests.builders import node
from tests.controllers.bench import Bench
from tests.controllers.builders import NOW, ago
from tests.controllers.requests import AS_CLIENT, SIGN, request
from tiphys.api.certificates_v1 import CertificateSigningRequest, CertificateSigningRequestCondition
from tiphys.api.core_v1 import Node
from tiphys.cluster.certificates import Authority
from tiphys.controllers.certificates import (
    CertificateController,
    removed_after,
    state_of,
    until_recognized,
)
from tiphys.controllers.signing import KUBELET_CLIENT


def csr(*conditions: tuple[str, str], since: float = 100) -> CertificateSigningRequest:
    """Created an hour and a half before; `conditions` are types and statuses."""
    made = CertificateSigningRequest()
    made.metadata.creation_timestamp = ago(5400)
    made.status.conditions = [
        CertificateSigningRequestCondition(type=kind, status=status, last_update_time=ago(since))
        for kind, status in conditions
    ]
    return made


@pytest.mark.parametrize(
    ("request_", "state", "left"),
    [
        (csr(), "Pending", 24 * 3600 - 5400),
        (csr(("Approved", "True")), "Approved", 3500),
        (csr(("Approved", "")), "Approved", 3500),
        (csr(("Approved", "False")), "Pending", 24 * 3600 - 5400),
        (csr(("Approved", "True"), ("Denied", "True")), "Denied", 3500),
        (csr(("Approved", "True"), ("Failed", "True")), "Failed", 3500),
        (csr(("Approved", "True"), since=3700), "Approved", -100),
    ],
)
def test_a_request_stays_for_a_while(
    request_: CertificateSigningRequest, state: str, left: float
) -> None:
    assert state_of(request_) == state
    assert removed_after(request_, NOW) == left


def test_without_a_time_of_its_own_the_creation_counts() -> None:
    denied = csr(("Denied", "True"))
    denied.status.conditions[0].last_update_time = None
    assert removed_after(denied, NOW) == 3600 - 5400


@pytest.mark.parametrize(
    ("signer", "left", "again"),
    [
        ("kubernetes.io/kubelet-serving", 3600, 5),
        ("kubernetes.io/kubelet-serving", 2, 2),
        ("kubernetes.io/kube-apiserver-client", 3600, 3600),
    ],
)
def test_a_request_of_a_node_that_has_not_come_yet_is_looked_at_soon(
    signer: str, left: float, again: float
) -> None:
    assert until_recognized(signer, left) == again


# --- step by step ---

together = pytest.mark.asyncio(loop_scope="package")


@pytest_asyncio.fixture(loop_scope="package")
async def certificates(bench: Bench) -> CertificateController:
    authority: Authority = bench.server.authority
    keys = (authority.path.read_bytes(), (authority.path.parent / "ca.key").read_bytes())
    return bench.start(CertificateController, authority=keys)


async def asked(bench: Bench, signer: str = KUBELET_CLIENT) -> CertificateSigningRequest:
    """A request for a node's certificate, by who may do anything."""
    name = f"system:node:{bench.namespace}"
    made = request(signer, AS_CLIENT, SIGN, name=name)
    made.metadata.name = bench.namespace
    return await bench.add(made)


async def found(bench: Bench) -> CertificateSigningRequest:
    there = await bench.get(CertificateSigningRequest, bench.namespace)
    assert there is not None
    return there


async def step(bench: Bench, certificates: CertificateController) -> float | None:
    await bench.seen()
    return await certificates.reconcile(bench.namespace)


@together
async def test_a_request_is_approved_then_signed_then_left_and_then_removed(
    bench: Bench, certificates: CertificateController
) -> None:
    await asked(bench)
    assert bench.namespace in await bench.queued(certificates)
    await step(bench, certificates)
    one = await found(bench)
    assert [(each.type, each.reason) for each in one.status.conditions] == [
        ("Approved", "AutoApproved")
    ]
    assert one.status.conditions[0].last_update_time and not one.status.certificate
    await step(bench, certificates)
    one = await found(bench)
    signed = x509.load_pem_x509_certificate(one.status.certificate)
    assert f"system:node:{bench.namespace}" in str(signed.subject)
    wait = await step(bench, certificates)
    assert wait is not None and 3590 < wait <= 3600 and await found(bench) == one
    bench.later = 3601
    assert await step(bench, certificates) is None
    assert await bench.get(CertificateSigningRequest, bench.namespace) is None
    assert await step(bench, certificates) is None


@together
async def test_a_name_that_is_at_work_is_denied(
    bench: Bench, certificates: CertificateController
) -> None:
    there = node(bench.namespace)
    await bench.add(there)
    made = await bench.client.get(Node, bench.namespace)
    await bench.say(made, conditions=[{"type": "Ready", "status": "True"}])
    await asked(bench)
    await step(bench, certificates)
    one = await found(bench)
    assert [(each.type, each.reason) for each in one.status.conditions] == [("Denied", "NameTaken")]
    await step(bench, certificates)
    assert not (await found(bench)).status.certificate, "what is denied is not signed"
    await bench.remove(made)


@pytest.mark.parametrize(
    ("groups", "allowed"), [("system:authenticated", False), ("system:masters", True)]
)
@together
async def test_who_asks_needs_the_right_to(
    bench: Bench, certificates: CertificateController, groups: str, allowed: bool
) -> None:
    one = request(KUBELET_CLIENT, AS_CLIENT, SIGN)
    one.spec.username, one.spec.groups = "somebody", [groups]
    assert await certificates._is_allowed(one, "nodeclient") is allowed


@together
async def test_a_signer_of_somebody_else_is_left_to_them(
    bench: Bench, certificates: CertificateController
) -> None:
    await asked(bench, "example.com/signer")
    wait = await step(bench, certificates)
    assert wait is not None and wait > 86000 and (await found(bench)).status.conditions == []


@together
async def test_without_an_authority_nothing_is_signed(bench: Bench) -> None:
    certificates = bench.start(CertificateController)
    await asked(bench)
    for _ in range(2):
        wait = await step(bench, certificates)
    assert wait is not None and not (await found(bench)).status.certificate


@together
async def test_an_approved_request_that_breaks_the_signers_rules_has_failed(
    bench: Bench, certificates: CertificateController
) -> None:
    made = request(KUBELET_CLIENT, AS_CLIENT, SIGN, name="somebody", groups=())
    made.metadata.name = bench.namespace
    one = await bench.add(made)
    await step(bench, certificates)
    assert (await found(bench)).status.conditions == [], "nobody recognizes it"
    one.status.conditions = [CertificateSigningRequestCondition(type="Approved", status="True")]
    await bench.client.update(one, "approval")
    await step(bench, certificates)
    one = await found(bench)
    assert {each.type: each.reason for each in one.status.conditions}["Failed"] == (
        "SignerValidationFailure"
    )
    assert not one.status.certificate


@pytest.mark.parametrize(("valid", "gone"), [(10, False), (-10, True)])
def test_a_request_goes_when_its_certificate_has_expired(
    monkeypatch: pytest.MonkeyPatch, valid: float, gone: bool
) -> None:
    @dataclass
    class Certificate:
        not_valid_after_utc: datetime.datetime

    end = datetime.datetime.fromtimestamp(NOW + valid, datetime.UTC)
    monkeypatch.setattr(x509, "load_pem_x509_certificate", lambda pem: Certificate(end))
    one = csr(("Approved", "True"))
    one.status.certificate = b"x"
    assert (removed_after(one, NOW) == 0) is gone
