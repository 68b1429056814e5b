"""What Ingress and Gateway API both compile to: ports, what is served at them, and where it goes.

Values alone, no Kubernetes and no Envoy. A change of a service's endpoints changes nothing here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

EVERYTHING = "*"
"""The host name of what has none."""


@dataclass(frozen=True, slots=True)
class BackendTLS:
    """How a backend is talked to over TLS: the name that is asked for, names that are accepted, and
    PEM of authorities.

    Without authorities those of the system are trusted.
    """

    hostname: str
    names: tuple[tuple[str, str], ...] = ()
    authorities: str = ""
    client_secret: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """A port of a service as something to connect to."""

    namespace: str
    service: str
    port: int
    protocol: Literal["http1", "h2c"] = "http1"
    tls: BackendTLS | None = None

    @property
    def cluster(self) -> str:
        """Its name for Envoy, and that of its endpoints: ``SERVICE.NAMESPACE:PORT``, and after
        ``|`` how it is talked to.

        Clusters do not share endpoints: Envoy asks once for a name, and the second one would wait
        for its own answer.
        """
        suffix = "|h2c" if self.protocol == "h2c" else ""
        if self.tls is not None:
            digest = hashlib.blake2b(repr(self.tls).encode(), digest_size=8).hexdigest()
            suffix += f"|tls-{digest}"
        return f"{self.service}.{self.namespace}:{self.port}{suffix}"


@dataclass(frozen=True, slots=True)
class HeaderChange:
    set: tuple[tuple[str, str], ...] = ()
    add: tuple[tuple[str, str], ...] = ()
    remove: tuple[str, ...] = ()


NO_CHANGE = HeaderChange()


@dataclass(frozen=True, slots=True)
class Backend:
    """`target` None stands for a reference that does not resolve: its share of requests is answered
    with 500."""

    target: Target | None
    weight: int = 1
    request: HeaderChange = NO_CHANGE
    response: HeaderChange = NO_CHANGE
    hostname: str = ""


MatchKind = Literal["Exact", "Prefix", "RegularExpression"]


@dataclass(frozen=True, slots=True)
class PathMatch:
    """A prefix is one of whole elements: ``/a`` has ``/a/b`` and not ``/ab``."""

    kind: MatchKind = "Prefix"
    value: str = "/"


@dataclass(frozen=True, slots=True)
class NamedMatch:
    """Of a header or of a parameter of the query."""

    name: str
    kind: MatchKind
    value: str


@dataclass(frozen=True, slots=True)
class Match:
    path: PathMatch = PathMatch()
    method: str = ""
    headers: tuple[NamedMatch, ...] = ()
    query: tuple[NamedMatch, ...] = ()


@dataclass(frozen=True, slots=True)
class PathRewrite:
    """`prefix` says whether the matched prefix alone is replaced."""

    value: str
    prefix: bool


@dataclass(frozen=True, slots=True)
class Redirect:
    """Empty values are those of the request."""

    scheme: str = ""
    hostname: str = ""
    port: int = 0
    path: PathRewrite | None = None
    status: int = 302


@dataclass(frozen=True, slots=True)
class Mirror:
    """A share of requests, in millionths, is also sent to the target."""

    target: Target
    millionths: int = 1_000_000


@dataclass(frozen=True, slots=True)
class Cors:
    origins: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    exposed: tuple[str, ...] = ()
    credentials: bool = False
    max_age: int = 5


@dataclass(frozen=True, slots=True)
class Rule:
    """What happens to requests that match. Times are in seconds, 0 for none.

    `single_level` is a wildcard host name of which the wildcard stands for one label alone, as
    Ingress has it.
    """

    match: Match = Match()
    backends: tuple[Backend, ...] = ()
    request: HeaderChange = NO_CHANGE
    response: HeaderChange = NO_CHANGE
    redirect: Redirect | None = None
    hostname: str = ""
    path: PathRewrite | None = None
    mirrors: tuple[Mirror, ...] = ()
    cors: Cors | None = None
    timeout: float = 0.0
    attempt_timeout: float = 0.0
    single_level: str = ""


def precedence(rule: Rule) -> tuple[int, int, int, int, int]:
    """Sorts rules of one host name, the most specific first: by path, method, headers, query.

    Ties are broken by who came first, so the order before must be that one.
    Source: the documentation of HTTPRouteMatch; of Ingress: the exact path, then the longest
      prefix.
    """
    match = rule.match
    kinds = ("Exact", "RegularExpression", "Prefix")
    return (
        kinds.index(match.path.kind),
        -len(match.path.value),
        not match.method,
        -len(match.headers),
        -len(match.query),
    )


@dataclass(frozen=True, slots=True)
class Host:
    """Requests with a host name. `status` answers what no rule matches."""

    name: str
    rules: tuple[Rule, ...] = ()
    status: int = 404


@dataclass(frozen=True, slots=True)
class ClientCheck:
    """Whose certificates clients must show: PEM of authorities. Optional: they may have none, or
    another one."""

    authorities: str
    is_optional: bool = False


@dataclass(frozen=True, slots=True)
class Site:
    """What is served at a port for connections that ask for one of `names` (none: for all others).

    With `secrets` TLS ends here. `hosts` are for HTTP; else connections go to `backends` as they
    are.
    """

    name: str
    names: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    hosts: tuple[Host, ...] | None = None
    backends: tuple[Backend, ...] = ()
    clients: ClientCheck | None = None


@dataclass(frozen=True, slots=True)
class Port:
    """`sites` have distinct names; all of them want TLS, or there is one."""

    address: str
    port: int
    sites: tuple[Site, ...]

    @property
    def name(self) -> str:
        return f"{self.address}:{self.port}"


@dataclass(frozen=True, slots=True)
class Certificate:
    chain: str
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class World:
    ports: tuple[Port, ...] = ()
    secrets: tuple[tuple[str, Certificate], ...] = ()

    def targets(self) -> set[Target]:
        """Everything that anything goes to."""
        targets = set()
        for port in self.ports:
            for site in port.sites:
                targets.update(_of_backends(site.backends))
                for host in site.hosts or ():
                    for rule in host.rules:
                        targets.update(_of_backends(rule.backends))
                        targets.update(mirror.target for mirror in rule.mirrors)
        return targets


def _of_backends(backends: Iterable[Backend]) -> set[Target]:
    return {one.target for one in backends if one.target is not None}


def covers(pattern: str, name: str) -> bool:
    """Whether every host that `name` stands for is one that `pattern` stands for.

    A wildcard stands for one or more labels (Gateway API).
    """
    if pattern in (EVERYTHING, name):
        return True
    return pattern.startswith("*.") and name != EVERYTHING and name.endswith(pattern[1:])


def covering(name: str) -> Iterator[str]:
    """Every host name that may stand for what `name` does: itself first, the widest last."""
    yield name
    rest = name.removeprefix("*.")
    while "." in rest:
        rest = rest.partition(".")[2]
        yield f"*.{rest}"
    if name != EVERYTHING:
        yield EVERYTHING


def intersection(first: str, second: str) -> str | None:
    """The host names that both stand for: always one of the two, or none."""
    if covers(first, second):
        return second
    return first if covers(second, first) else None


def specificity(name: str) -> tuple[bool, int]:
    """Sorts host names, the most specific first: without a wildcard, then the longest."""
    return (name.startswith("*"), -len(name) if name != EVERYTHING else 0)
