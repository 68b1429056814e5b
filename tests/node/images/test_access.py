"""Who may use an image that is on the node."""

from __future__ import annotations

import pytest

from tiphys.node.images.access import (
    ALLOWLISTED,
    ALWAYS,
    NEVER,
    PRELOADED,
    Access,
    SecretUse,
    VerificationPolicy,
    read,
    without_tag,
    written,
)

ONE = SecretUse("u1", "ns", "one", "hash1")
OTHER = SecretUse("u2", "ns", "other", "hash2")


@pytest.mark.parametrize(
    ("secret", "opens"),
    [
        (ONE, True),
        (OTHER._replace(credential_hash="hash1"), True),
        (ONE._replace(credential_hash="new"), True),
        (OTHER, False),
        (OTHER._replace(credential_hash=""), False),
        (ONE._replace(uid="u3", credential_hash="x"), False),
    ],
)
def test_the_same_secret_opens_it_or_the_same_credentials(secret: SecretUse, opens: bool) -> None:
    assert Access(secrets=[ONE]).opens(secret) is opens


def test_what_everybody_may_use_needs_no_secret_any_more() -> None:
    access = Access()
    assert access.merge(False, [ONE]) and not access.merge(False, [ONE])
    assert access.merge(False, [OTHER]) and access.secrets == [ONE, OTHER]
    assert access.merge(True, []) and access.secrets == []
    assert not access.merge(False, [ONE])


@pytest.mark.parametrize(
    ("policy", "allowed", "image", "preloaded", "pulled"),
    [
        (NEVER, (), "reg/a:1", False, False),
        (PRELOADED, (), "reg/a:1", False, True),
        (ALWAYS, (), "reg/a:1", True, True),
        (ALLOWLISTED, ("reg/a",), "reg/a:1", False, False),
        (ALLOWLISTED, ("reg/a",), "reg/ab:1", True, True),
        (ALLOWLISTED, ("reg/*",), "reg/x/y@sha256:" + "0" * 64, False, False),
        (ALLOWLISTED, ("reg/*",), "regx/y", True, True),
    ],
)
def test_policies(
    policy: str, allowed: tuple[str, ...], image: str, preloaded: bool, pulled: bool
) -> None:
    made = VerificationPolicy(policy, allowed)
    assert made.applies(image, was_pulled=False) is preloaded
    assert made.applies(image, was_pulled=True) is pulled


@pytest.mark.parametrize("wrong", [" reg/a", "", "re*g/a", "/*", "reg/a:1", "reg/A", "*"])
def test_patterns_that_are_none_are_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match=r"[a-z]"):
        VerificationPolicy(ALLOWLISTED, [wrong])


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("a", "a"),
        ("a:1", "a"),
        ("reg:5000/a", "reg:5000/a"),
        ("reg:5000/a:1@sha256:00", "reg:5000/a"),
    ],
)
def test_names_without_tags(image: str, name: str) -> None:
    assert without_tag(image) == name


def test_a_record_is_read_as_it_was_written() -> None:
    access = {"reg/a": Access(secrets=[ONE]), "reg/b": Access(everybody=True)}
    assert read(written(access)) == access
