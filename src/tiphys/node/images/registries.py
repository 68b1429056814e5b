"""Credentials of image registries from pull secrets, chosen for an image as by upstream's kubelet.
Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec

from tiphys.api import core_v1
from tiphys.node.images.access import SecretUse
from tiphys.node.images.names import repository_of

Login = dict[str, str]  # username and password, named as CRI's AuthConfig names them
_DEFAULT = "index.docker.io"  # the key of Docker's own registry


class Credential(NamedTuple):
    """A login, and the secret that it is from."""

    login: Login
    secret: SecretUse


def credentials(secrets: Iterable[core_v1.Secret], image: str) -> list[Credential]:
    """What to try for an image, in this order: logins of longer paths come first. Raises
    ImageNameError.

    They do not have the registry's address: containerd ignores a login with the address of another
    registry, or with one that is not a URL.
    """
    keyring: dict[str, list[Credential]] = {}
    for secret in secrets:
        for server, login in _entries(secret):
            keyring.setdefault(_key(server), []).append(Credential(login, _use(secret, login)))
    repository = repository_of(image)
    matching: list[Credential] = []
    for key in sorted(keyring, reverse=True):
        if _matches(key, repository):
            matching += keyring[key]
    if not matching and repository.startswith("docker.io/"):
        return keyring.get(_DEFAULT, [])
    return matching


def logins(secrets: Iterable[core_v1.Secret], image: str) -> list[Login]:
    """Those of `credentials`."""
    return [credential.login for credential in credentials(secrets, image)]


def _use(secret: core_v1.Secret, login: Login) -> SecretUse:
    meta = secret.metadata
    digest = hashlib.sha256(json.dumps(login, sort_keys=True).encode()).hexdigest()
    return SecretUse(meta.uid, meta.namespace, meta.name, digest)


def _entries(secret: core_v1.Secret) -> Iterator[tuple[str, Login]]:
    """(server, login) of a docker configuration, of either format; nothing of one that cannot be
    read."""
    try:
        entries = {server: _login(entry) for server, entry in _auths(secret).items()}
    except (msgspec.DecodeError, binascii.Error, ValueError, AttributeError, TypeError):
        return
    yield from entries.items()


def _auths(secret: core_v1.Secret) -> dict[str, Any]:
    """The entries by server. Raises what reading JSON raises."""
    if ".dockerconfigjson" in secret.data:
        config = msgspec.json.decode(secret.data[".dockerconfigjson"], type=dict[str, Any])
        return config.get("auths") or {}
    return msgspec.json.decode(secret.data.get(".dockercfg", b"{}"), type=dict[str, Any])


def _login(entry: dict[str, Any]) -> Login:
    name = entry.get("username") or ""
    password = entry.get("password") or ""
    if entry.get("auth"):
        text = entry["auth"].strip()
        padding = "=" * (-len(text) % 4)
        pair = base64.b64decode(text + padding).decode()
        name, colon, password = pair.partition(":")
        if not colon:
            raise ValueError("auth is not NAME:PASSWORD")
    return {"username": name, "password": password}


def _key(server: str) -> str:
    """Host, port and path, without a scheme and the path of Docker's API."""
    for scheme in ("https://", "http://"):
        server = server.removeprefix(scheme)
    host, slash, path = server.partition("/")
    path = slash + path
    if path.startswith(("/v1/", "/v2/")):
        path = path[3:]
    return host if path in ("", "/") else host + path


def _matches(key: str, repository: str) -> bool:
    """A key's host may have wildcards within its parts (``*.example.com``); its port must be the
    repository's, and its path a prefix of the repository's."""
    try:
        pattern = urlsplit(f"//{key}")
        image = urlsplit(f"//{repository}")
        if pattern.port != image.port:
            return False
    except ValueError:
        return False
    if not image.path.startswith(pattern.path):
        return False
    pattern_parts = pattern.netloc.partition(":")[0].split(".")
    parts = image.netloc.partition(":")[0].split(".")
    if len(parts) != len(pattern_parts):
        return False
    return all(map(fnmatchcase, parts, pattern_parts))
