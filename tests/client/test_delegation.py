"""Whom a client's certificate names."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.client.delegation import Caller, caller_of, has_ended

NAME, GROUP = "commonName", "organizationName"
LATER = "Jan  1 00:00:00 2100 GMT"
BEFORE = "Jan  1 00:00:00 2020 GMT"


def certificate(*subject: tuple[str, str], ends: str = LATER) -> dict[str, Any]:
    """As `ssl.SSLSocket.getpeercert` has it."""
    return {"subject": tuple((attribute,) for attribute in subject), "notAfter": ends}


@pytest.mark.parametrize(
    ("shown", "caller"),
    [
        (certificate((NAME, "a")), Caller("a", ())),
        (certificate((GROUP, "g"), (GROUP, "h"), (NAME, "a")), Caller("a", ("g", "h"))),
        (certificate((NAME, "another"), (NAME, "a")), Caller("a", ())),
        (certificate((GROUP, "g")), None),
        (certificate((NAME, "")), None),
        (certificate((NAME, "a"), ends=BEFORE), None),
        (None, None),
    ],
)
def test_a_certificate_names_its_owner_until_it_ends(shown: Any, caller: Caller | None) -> None:
    assert caller_of(shown) == caller


def test_a_certificate_ends() -> None:
    assert has_ended(certificate(ends=BEFORE)) is True
    assert has_ended(certificate(ends=LATER)) is False
