"""Names of images, read as upstream's container tools read them. Pure."""

from __future__ import annotations

import re

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_NAME = re.compile(
    rf"(?P<repository>{_DOMAIN}/{_COMPONENT}(?:/{_COMPONENT})*)"
    r"(?::(?P<tag>\w[\w.-]{0,127}))?"
    r"(?:@(?P<digest>[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}))?",
    re.ASCII,
)
_IDENTIFIER = re.compile(r"[a-f0-9]{64}")
_DOCKER = "docker.io"  # the registry of names that have none
_LONGEST = 255  # characters of a repository's name


class ImageNameError(ValueError):
    """The name cannot be that of an image; the text is upstream's."""


def repository_of(image: str) -> str:
    """The repository with its registry: ``docker.io/library/nginx`` of ``nginx:1``. Raises
    ImageNameError."""
    return _read(image)["repository"]


def with_tag(image: str) -> str:
    """The name as the runtime gets it: with the tag ``:latest`` if it has neither tag nor digest.
    Raises ImageNameError."""
    match = _read(image)
    return image if match["tag"] or match["digest"] else f"{image}:latest"


def full_name(image: str) -> str:
    """The name under which a runtime keeps the image: ``docker.io/library/redis:7`` of ``redis:7``.
    Raises ImageNameError, also for a name with a digest: it is what the image is, not its name."""
    match = _read(image)
    if match["digest"]:
        raise ImageNameError("a name to give has no digest")
    return f"{match['repository']}:{match['tag'] or 'latest'}"


def name_on_node(image: str) -> str:
    """The name that a runtime lists the image under that a pod calls so: with its registry, and
    its tag or digest. Raises ImageNameError."""
    match = _read(image)
    if match["digest"]:
        return f"{match['repository']}@{match['digest']}"
    return f"{match['repository']}:{match['tag'] or 'latest'}"


def _split_domain(image: str) -> tuple[str, str]:
    """(registry, rest) of a name. What comes before the first slash is a registry if it looks like
    a host."""
    domain, slash, rest = image.partition("/")
    has_host_characters = bool(set(domain) & {".", ":"}) or domain != domain.lower()
    if not slash or not (has_host_characters or domain == "localhost"):
        return _DOCKER, image
    return (_DOCKER, rest) if domain == "index.docker.io" else (domain, rest)


def _read(image: str) -> re.Match[str]:
    if _IDENTIFIER.fullmatch(image):
        raise ImageNameError(
            f"invalid repository name ({image}), cannot specify 64-byte hexadecimal strings"
        )
    domain, rest = _split_domain(image)
    if domain == _DOCKER and "/" not in rest:
        rest = f"library/{rest}"
    path = rest.partition("@")[0]
    if ":" in path:
        path = path[: path.index(":")]
    if path != path.lower():
        raise ImageNameError(
            f"invalid reference format: repository name ({path}) must be lowercase"
        )
    match = _NAME.fullmatch(f"{domain}/{rest}")
    if match is None:
        raise ImageNameError("invalid reference format")
    if len(match["repository"]) > _LONGEST:
        raise ImageNameError(f"repository name must not be more than {_LONGEST} characters")
    return match
