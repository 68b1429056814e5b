"""Whose token a secret holds."""

from __future__ import annotations

import pytest

from tiphys.api.core_v1 import Secret, ServiceAccount
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.controllers.tokens import ACCOUNT_UID, is_of


@pytest.mark.parametrize(("uid", "matches"), [(None, True), ("", True), ("u", True), ("v", False)])
def test_a_secret_is_about_one_account_and_not_its_successor(
    uid: str | None, matches: bool
) -> None:
    annotations = {} if uid is None else {ACCOUNT_UID: uid}
    secret = Secret(metadata=ObjectMeta(annotations=annotations))
    account = ServiceAccount(metadata=ObjectMeta(name="a", uid="u"))
    assert is_of(secret, account) is matches
