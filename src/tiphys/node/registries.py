"""Credentials of image registries, from pull secrets."""

from __future__ import annotations

import base64
from typing import Any

import msgspec

from tiphys.api import core_v1


def registry_of(image: str) -> str:
    first = image.split("/")[0]
    return first if "/" in image and ("." in first or ":" in first or first == "localhost") else "docker.io"


def credentials(secret: core_v1.Secret, image: str) -> dict[str, str] | None:
    """The entry of a docker configuration for the image's registry, as CRI's AuthConfig wants it."""
    try:
        if ".dockerconfigjson" in secret.data:
            entries: dict[str, Any] = msgspec.json.decode(secret.data[".dockerconfigjson"]).get("auths", {})
        else:
            entries = msgspec.json.decode(secret.data[".dockercfg"])
    except (KeyError, msgspec.DecodeError):
        return None
    wanted = registry_of(image)
    for server, entry in entries.items():
        host = server.removeprefix("https://").removeprefix("http://").split("/")[0]
        if host == wanted or (wanted == "docker.io" and host == "index.docker.io"):
            name, password = entry.get("username", ""), entry.get("password", "")
            if entry.get("auth"):
                name, _, password = base64.b64decode(entry["auth"]).decode().partition(":")
            return {"username": name, "password": password, "server_address": server}
    return None
