"""Which logins of pull secrets count for which images, as upstream's keyring has it."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from tiphys.api import core_v1
from tiphys.node.images.names import ImageNameError, full_name, repository_of, with_tag
from tiphys.node.images.registries import logins


def secret(*servers: str) -> core_v1.Secret:
    """Logins whose names are those of their servers."""
    auths = {one: {"username": one, "password": "p"} for one in servers}
    return core_v1.Secret(data={".dockerconfigjson": json.dumps({"auths": auths}).encode()})


def names(image: str, *servers: str) -> list[str]:
    return [login["username"] for login in logins([secret(*servers)], image)]


@pytest.mark.parametrize(
    ("server", "image"),
    [
        ("localhost:5000", "localhost:5000/a:1"),
        ("http://localhost:5000", "localhost:5000/a"),
        ("https://index.docker.io/v1/", "nginx"),
        ("https://index.docker.io/v1/", "me/own:2"),
        ("docker.io", "docker.io/library/nginx"),
        ("registry.example.com/team", "registry.example.com/team/app@sha256:" + "0" * 64),
        ("https://registry.example.com/v2/", "registry.example.com/app"),
        ("*.example.com", "one.example.com/app"),
        ("r*.example.com:5000", "reg.example.com:5000/app"),
    ],
)
def test_a_login_counts_for_images_of_its_registry(server: str, image: str) -> None:
    assert names(image, server) == [server]


@pytest.mark.parametrize(
    ("server", "image"),
    [
        ("localhost:5000", "localhost:5001/a"),
        ("*.example.com", "a.b.example.com/app"),
        ("registry.example.com/team", "registry.example.com/other/app"),
        ("example.com", "nginx"),
        ("https://[", "nginx"),
    ],
)
def test_and_for_no_others(server: str, image: str) -> None:
    assert names(image, server) == []


def test_longer_paths_come_first_and_the_server_is_not_told() -> None:
    assert names("q.io/a/b", "q.io", "q.io/a", "q.io/a/b") == ["q.io/a/b", "q.io/a", "q.io"]
    assert logins([secret("q.io")], "q.io/a") == [{"username": "q.io", "password": "p"}]


def test_the_old_format_and_auth_are_read_and_what_is_broken_is_passed_over() -> None:
    pair = base64.b64encode(b"me:se:cret").decode().rstrip("=")
    old = core_v1.Secret(data={".dockercfg": json.dumps({"q.io": {"auth": pair}}).encode()})
    broken: list[Any] = [
        b"{",
        b"[]",
        b'{"auths":{"q.io":{"auth":"!"}}}',
        b'{"auths":{"q.io":7}}',
        b'{"auths":null}',
    ]
    others = [core_v1.Secret(data={".dockerconfigjson": text}) for text in broken]
    assert logins([*others, old], "q.io/a") == [{"username": "me", "password": "se:cret"}]


def test_names_of_images_are_completed_or_refused() -> None:
    assert (with_tag("nginx"), with_tag("q.io:5/a:1")) == ("nginx:latest", "q.io:5/a:1")
    assert (
        repository_of("localhost/a") == "localhost/a"
        and repository_of("me/a:1") == "docker.io/me/a"
    )
    for name, why in {
        "q.io/UPPER:1": "invalid reference format: repository name (UPPER) must be lowercase",
        "a//b": "invalid reference format",
        "a:!": "invalid reference format",
    }.items():
        with pytest.raises(
            ImageNameError, match="^" + why.replace("(", r"\(").replace(")", r"\)") + "$"
        ):
            with_tag(name)


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("redis:7", "docker.io/library/redis:7"),
        ("acme/redis", "docker.io/acme/redis:latest"),
        ("tiphys.local/hello:1", "tiphys.local/hello:1"),
        ("localhost:5000/a/b:c", "localhost:5000/a/b:c"),
    ],
)
def test_an_image_is_kept_under_its_whole_name(image: str, name: str) -> None:
    assert full_name(image) == name


@pytest.mark.parametrize("image", ["", "Redis:7", "redis:", "redis@sha256:" + "a" * 64])
def test_what_cannot_be_a_name_is_refused(image: str) -> None:
    with pytest.raises(ImageNameError):
        full_name(image)
