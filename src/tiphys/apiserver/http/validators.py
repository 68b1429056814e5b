"""ETags of lists: a repeated request for an unchanged list gets a 304, a few bytes.

A list's own resourceVersion moves with every write to anything, its items do not: hence the ETag is
a weak one, of the request and of how far the resource's cache is. Upstream's lists have none; its
clients watch, or read everything each time.
"""

from __future__ import annotations

import secrets

from aiohttp import web

from tiphys.api.catalog import Resource
from tiphys.apiserver.http.request import Call
from tiphys.apiserver.http.respond import Accepted
from tiphys.store.cache import Version

# The contents of a cache are known by its version within one process alone.
_PROCESS = secrets.token_hex(6)
# With any of these a list is a page, or of the past. Its tokens end with the history.
_PAGED = ("limit", "continue", "resourceVersion", "resourceVersionMatch")
_SELECTING = ("labelSelector", "fieldSelector")


def list_etag(call: Call, resource: Resource, want: Accepted, version: Version) -> str:
    """The ETag of a list that is made after `version` was read, or "" where none would be sound.

    Tables show ages, which move by themselves; a webhook that converts may answer otherwise each
    time. 2 µs.
    """
    query = call.query
    if want.shape or any(query.get(name) for name in _PAGED):
        return ""
    if resource.webhook is not None:
        return ""
    asked = (
        resource.prefix,
        resource.api_version,
        resource.definition_version,
        call.info.namespace,
        call.info.name,
        want,
        *(query.get(name, "") for name in _SELECTING),
    )
    # The hash has a seed of this process, so that no client can make two requests that share one.
    known = hash((asked, version)) & (1 << 64) - 1
    return f'W/"{_PROCESS}-{version.revision}-{known:016x}"'


def is_known(call: Call, etag: str) -> bool:
    """Whether the client has the list (RFC 9110, 13.1.2; If-None-Match is compared weakly)."""
    asked = call.http.headers.get("If-None-Match", "")
    if not asked or not etag:
        return False
    return any(part.strip() == etag for part in asked.split(","))


def not_modified(etag: str) -> web.Response:
    return web.Response(status=304, headers={"ETag": etag, "Cache-Control": "no-cache, private"})
