"""The two ConfigMaps that say how names are resolved are followed as they change."""

from __future__ import annotations

import pytest

from tests.builders import config_map
from tiphys.addons.dns.configuration import Configuration
from tiphys.addons.dns.configured import Followed
from tiphys.api import core_v1

HOSTS = ".:53 {\n  hosts {\n    10.0.0.1 a.example\n    fallthrough\n  }\n}\n"
STUBS = '{"corp.local": ["10.0.0.9"]}'


def coredns(text: str = HOSTS) -> core_v1.ConfigMap:
    return config_map("coredns", "kube-system", Corefile=text)


def kube_dns(text: str = STUBS) -> core_v1.ConfigMap:
    return config_map("kube-dns", "kube-system", stubDomains=text)


@pytest.fixture
def heard() -> list[Configuration]:
    return []


@pytest.fixture
def followed(heard: list[Configuration]) -> Followed:
    return Followed(heard.append)


def test_both_are_read_together(followed: Followed, heard: list[Configuration]) -> None:
    followed.changed(None, coredns())
    followed.changed(None, kube_dns())
    assert len(heard) == 2 and heard[0] != heard[1]
    again = Followed(heard.append)
    again.changed(None, kube_dns())
    again.changed(None, coredns())
    assert heard[3] == heard[1]


def test_what_says_the_same_as_before_changes_nothing(
    followed: Followed, heard: list[Configuration]
) -> None:
    first = coredns()
    followed.changed(None, first)
    second = coredns()
    second.metadata.labels = {"a": "b"}
    followed.changed(first, second)
    assert len(heard) == 1
    followed.changed(second, coredns(HOSTS.replace("10.0.0.1", "10.0.0.2")))
    assert len(heard) == 2


def test_one_that_is_deleted_says_nothing_any_more(
    followed: Followed, heard: list[Configuration]
) -> None:
    followed.changed(None, coredns())
    followed.changed(coredns(), None)
    fresh: list[Configuration] = []
    empty = Followed(fresh.append)
    empty.changed(None, kube_dns("{}"))
    assert len(heard) == 2 and heard[0] != heard[1]
    followed.changed(coredns(), None)
    assert len(heard) == 2


def test_what_cannot_be_followed_is_told(
    followed: Followed, heard: list[Configuration], caplog: pytest.LogCaptureFixture
) -> None:
    followed.changed(None, coredns(".:53 {\n  unheard\n}\n"))
    assert "The configuration of cluster DNS is not followed in part: " in caplog.text
    assert len(heard) == 1 and heard[0].problems
