"""Credentials of image registries, from pull secrets, found for an image as upstream's kubelet finds them. Pure."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import urlsplit

import msgspec

from tiphys.api import core_v1
from tiphys.node.imagenames import repository_of

Login = dict[str, str]  # username and password, named as CRI's AuthConfig names them
_DEFAULT = "index.docker.io"  # the key of Docker's own registry


def logins(secrets: Iterable[core_v1.Secret], image: str) -> list[Login]:
    """What to try for an image, in this order: logins of longer paths come first. Raises ImageNameError.

    The registry's address is not among them: containerd takes a login with the address of another registry, or with one
    that is no URL, for none.
    """
    keyring: dict[str, list[Login]] = {}
    for secret in secrets:
        for server, login in _entries(secret):
            keyring.setdefault(_key(server), []).append(login)
    repository = repository_of(image)
    found = [
        login
        for key in sorted(keyring, reverse=True)
        if _matches(key, repository)
        for login in keyring[key]
    ]
    if not found and repository.startswith("docker.io/"):
        return keyring.get(_DEFAULT, [])
    return found


def _entries(secret: core_v1.Secret) -> Iterator[tuple[str, Login]]:
    """(server, login) of a docker configuration, of either format; nothing of one that cannot be read."""
    try:
        if ".dockerconfigjson" in secret.data:
            entries = (
                msgspec.json.decode(secret.data[".dockerconfigjson"], type=dict[str, Any]).get(
                    "auths"
                )
                or {}
            )
        else:
            entries = msgspec.json.decode(secret.data.get(".dockercfg", b"{}"), type=dict[str, Any])
        read = {server: _login(entry) for server, entry in entries.items()}
    except (msgspec.DecodeError, binascii.Error, ValueError, AttributeError, TypeError):
        return
    yield from read.items()


def _login(entry: dict[str, Any]) -> Login:
    name, password = entry.get("username") or "", entry.get("password") or ""
    if entry.get("auth"):
        text = entry["auth"].strip()
        pair = base64.b64decode(text + "=" * (-len(text) % 4)).decode()
        name, colon, password = pair.partition(":")
        if not colon:
            raise ValueError("auth is not NAME:PASSWORD")
    return {"username": name, "password": password}


def _key(server: str) -> str:
    """Host, port and path: a scheme and the path of Docker's interface are the same as none."""
    for scheme in ("https://", "http://"):
        server = server.removeprefix(scheme)
    host, slash, path = server.partition("/")
    path = slash + path
    if path.startswith(("/v1/", "/v2/")):
        path = path[3:]
    return host if path in ("", "/") else host + path


def _matches(key: str, repository: str) -> bool:
    """A key's host may have wildcards within its parts (``*.example.com``); its port must be the same, its path lead there."""
    try:
        wanted, asked = urlsplit(f"//{key}"), urlsplit(f"//{repository}")
        if wanted.port != asked.port:
            return False
    except ValueError:
        return False
    if not asked.path.startswith(wanted.path):
        return False
    wanted_parts = wanted.netloc.partition(":")[0].split(".")
    parts = asked.netloc.partition(":")[0].split(".")
    return len(parts) == len(wanted_parts) and all(
        fnmatchcase(part, pattern) for part, pattern in zip(parts, wanted_parts, strict=True)
    )
