"""When certificate signing requests are removed."""

from __future__ import annotations

import pytest

from tests.controllers.builders import NOW, ago
from tiphys.api.certificates_v1 import CertificateSigningRequest, CertificateSigningRequestCondition
from tiphys.controllers.certificates import removed_after, state_of, until_recognized


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
