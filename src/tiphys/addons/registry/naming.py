"""Names and paths of the distribution API. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

from tiphys.addons.registry.faults import Fault

_COMPONENT = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:([a-f0-9]{64})")
_LONGEST = 255  # characters of a repository's name, as everywhere
_KINDS = ("blobs", "manifests", "tags", "referrers")


class Target(NamedTuple):
    """What a path is about. `kind`: api, catalog, blobs, uploads, manifests, tags or referrers;
    `reference` is a digest, a tag or the session of an upload, "" for all of them."""

    kind: str
    repository: str = ""
    reference: str = ""


def target_of(path: str) -> Target:
    """Raises Fault: 404 for a path that the API does not have, 400 for a name that none can be."""
    if path in ("/v2", "/v2/"):
        return Target("api")
    if path == "/v2/_catalog":
        return Target("catalog")
    if not path.startswith("/v2/"):
        raise Fault(404, "UNSUPPORTED", "there is no such path")
    rest = path[4:]
    before, slash, session = rest.rpartition("/blobs/uploads/")
    if slash and "/" not in session:
        return Target("uploads", repository(before), session)
    if rest.endswith("/blobs/uploads"):
        return Target("uploads", repository(rest.removesuffix("/blobs/uploads")))
    *name, kind, reference = rest.split("/")
    if not name or kind not in _KINDS or (kind == "tags" and reference != "list"):
        raise Fault(404, "UNSUPPORTED", "there is no such path")
    return Target(kind, repository("/".join(name)), reference)


def repository(name: str) -> str:
    """The name, if it can be that of a repository. Raises Fault."""
    if len(name) > _LONGEST or not _NAME.fullmatch(name):
        raise Fault(400, "NAME_INVALID", "invalid repository name", {"name": name[:_LONGEST]})
    return name


def digest(text: str) -> str:
    """The 64 hexadecimal digits of ``sha256:...``. Raises Fault."""
    match = _DIGEST.fullmatch(text)
    if match is None:
        raise Fault(400, "DIGEST_INVALID", "digests are sha256:<64 hexadecimal digits>")
    return match[1]


def is_digest(reference: str) -> bool:
    """Whether it is meant as one: a tag has no colon."""
    return ":" in reference


def tag(text: str) -> str:
    """The text, if it can be a tag. Raises Fault."""
    if not _TAG.fullmatch(text):
        raise Fault(400, "TAG_INVALID", "invalid tag", {"tag": text[:128]})
    return text
