"""The two conversations of xDS with one client, without its socket: requests in, answers out.

Both follow the protocol's documentation (envoyproxy.io, "xDS REST and gRPC protocol"):
subscriptions by name or for everything, acknowledgements by nonce, refusals that leave the version
as it was.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tiphys.network.xds.cache import CLUSTER, LISTENER, Cache, Resource, varint

log = logging.getLogger(__name__)

_FULL_STATE = frozenset((LISTENER, CLUSTER))
"""Types of which an answer of the state of the world is all there is: what is missing is gone."""
_EVERYTHING = "*"
_LONGEST_ERROR = 1000  # characters of a client's refusal that are kept
_MOST_UNANSWERED = 100  # answers of a stream that wait for what the client makes of them


@dataclass
class Subscription:
    """What one client wants of one type, and what it has.

    `sent`, `acknowledged` and `refused` are versions by name, and in the state of the world may be
    shared with other clients: they are replaced there, never changed; `unanswered` has those of
    each answer, by its nonce, until the client says what it makes of it. `error` is the client's
    last refusal, empty once it has accepted something newer.
    """

    wildcard: bool = False
    names: set[str] = field(default_factory=set)
    sent: dict[str, str] = field(default_factory=dict)
    acknowledged: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    unanswered: dict[str, dict[str, str]] = field(default_factory=dict)
    nonce: str = ""
    error: str = ""

    def wants(self, name: str) -> bool:
        return self.wildcard or name in self.names

    def expect(self, versions: dict[str, str]) -> None:
        """Notes an answer with these versions, "" for what is gone. Earlier answers about these
        names no longer count."""
        for earlier in (self.acknowledged, *self.unanswered.values()):
            for name in versions:
                earlier.pop(name, None)
        self.unanswered[self.nonce] = versions
        if len(self.unanswered) > _MOST_UNANSWERED:
            del self.unanswered[next(iter(self.unanswered))]
        self.sent |= {name: version for name, version in versions.items() if version}

    def is_awaited(self, name: str) -> bool:
        """Whether the client has neither accepted nor refused a name yet."""
        return any(name in versions for versions in self.unanswered.values())


class Conversation:
    """What both forms have in common. `refusals` counts the answers that the client refused."""

    def __init__(self, cache: Cache, client: str = "") -> None:
        self.cache = cache
        self.client = client
        self.subscriptions: dict[str, Subscription] = {}
        self.refusals = 0
        self._answers = 0

    def _nonce(self) -> str:
        self._answers += 1
        return str(self._answers)

    def _acknowledge(self, subscription: Subscription, request: Any) -> None:
        """Takes the client's word for an answer. It has one for each; others it may say what it
        likes of."""
        versions = subscription.unanswered.pop(request.response_nonce, None)
        if versions is None:
            return
        if request.HasField("error_detail"):
            self.refusals += 1
            subscription.refused = {**subscription.refused, **versions}
            subscription.error = request.error_detail.message[:_LONGEST_ERROR]
            log.warning(
                "xDS client %s refused %s: %s",
                repr(self.client[:_LONGEST_ERROR]),  # its own words: no lines of the log
                repr(request.type_url.rpartition(".")[2][:_LONGEST_ERROR]),
                repr(subscription.error),
            )
            return
        subscription.error = ""
        self._accept(subscription, versions)

    def _accept(self, subscription: Subscription, versions: dict[str, str]) -> None:
        """The client has taken these versions over."""
        raise NotImplementedError


class StateOfTheWorld(Conversation):
    """Answers hold whole resources; those of listeners and clusters all there are."""

    def request(self, request: Any) -> bytes | None:
        """What to answer to a DiscoveryRequest; None: nothing now."""
        type_url = request.type_url
        subscription = self.subscriptions.get(type_url)
        if subscription is None:
            subscription = self.subscriptions[type_url] = Subscription()
        elif request.response_nonce and request.response_nonce != subscription.nonce:
            return None  # about an answer that another one has overtaken
        self._acknowledge(subscription, request)
        names = set(request.resource_names)
        added = names - subscription.names
        is_first = not subscription.nonce
        subscription.wildcard = _EVERYTHING in names or (not names and type_url in _FULL_STATE)
        removed = subscription.names - names
        subscription.names = names
        if removed:
            subscription.sent = {n: v for n, v in subscription.sent.items() if n not in removed}
        if is_first or (added and type_url in _FULL_STATE):
            return self._everything(type_url, subscription)
        if not added:
            return None
        return self._answer(type_url, subscription, self.cache.select(type_url, sorted(added)))

    def change(self, type_url: str, names: Iterable[str]) -> bytes | None:
        """What to tell the client after a change; None when it is not concerned."""
        subscription = self.subscriptions.get(type_url)
        if subscription is None:
            return None
        concerned = [name for name in names if subscription.wants(name)]
        if not concerned:
            return None
        if type_url in _FULL_STATE:
            return self._everything(type_url, subscription)
        selected = self.cache.select(type_url, concerned)
        if not selected:
            return None  # nothing says that it is gone: the cluster or listener that names it goes
        return self._answer(type_url, subscription, selected)

    def _everything(self, type_url: str, subscription: Subscription) -> bytes | None:
        """All that the client wants of a type. That of who wants everything is made once for all of
        them."""
        if not subscription.wildcard:
            wanted = self.cache.select(type_url, sorted(subscription.names))
            return self._answer(type_url, subscription, wanted)
        complete = self.cache.once(
            type_url, lambda resources: _complete_response(type_url, resources)
        )
        subscription.nonce = complete.nonce
        subscription.unanswered = {complete.nonce: complete.versions}
        subscription.sent = complete.versions
        return complete.body

    def _accept(self, subscription: Subscription, versions: dict[str, str]) -> None:
        if versions is subscription.sent or not subscription.acknowledged:
            subscription.acknowledged = versions
        else:
            subscription.acknowledged = {**subscription.acknowledged, **versions}

    def _answer(
        self, type_url: str, subscription: Subscription, resources: list[Resource]
    ) -> bytes | None:
        if not resources and type_url not in _FULL_STATE:
            return None  # it will be sent when it is there
        subscription.nonce = self._nonce()
        versions = {resource.name: resource.version for resource in resources}
        subscription.unanswered = {subscription.nonce: versions}  # what went before is overtaken
        subscription.sent = {**subscription.sent, **versions}
        return response(type_url, _version(resources), subscription.nonce, resources)


class Incremental(Conversation):
    """Answers hold what the client does not have yet, and the names of what is gone."""

    def request(self, request: Any) -> bytes | None:
        """What to answer to a DeltaDiscoveryRequest; None: nothing now."""
        type_url = request.type_url
        subscription = self.subscriptions.get(type_url)
        is_first = subscription is None
        if subscription is None:
            subscription = self.subscriptions[type_url] = Subscription()
            subscription.sent = dict(request.initial_resource_versions)
            subscription.wildcard = not request.resource_names_subscribe
        self._acknowledge(subscription, request)
        asked = set(request.resource_names_subscribe)
        dropped = set(request.resource_names_unsubscribe)
        subscription.wildcard |= _EVERYTHING in asked
        subscription.wildcard &= _EVERYTHING not in dropped
        asked.discard(_EVERYTHING)
        subscription.names = (subscription.names | asked) - dropped
        for name in dropped:
            subscription.sent.pop(name, None)
            subscription.acknowledged.pop(name, None)
        if is_first:
            return self._answer(
                type_url, subscription, self._all_names(type_url, subscription), is_first
            )
        if not asked:
            return None
        for name in asked:  # asked for once more: it is to be sent, even if nothing changed
            subscription.sent.pop(name, None)
        return self._answer(type_url, subscription, asked, is_first=True)

    def change(self, type_url: str, names: Iterable[str]) -> bytes | None:
        """What to tell the client after a change; None when it is not concerned."""
        subscription = self.subscriptions.get(type_url)
        if subscription is None:
            return None
        concerned = {name for name in names if subscription.wants(name)}
        return self._answer(type_url, subscription, concerned) if concerned else None

    def _accept(self, subscription: Subscription, versions: dict[str, str]) -> None:
        subscription.acknowledged |= {
            name: version for name, version in versions.items() if version
        }

    def _all_names(self, type_url: str, subscription: Subscription) -> set[str]:
        names = set(subscription.names) | set(subscription.sent)
        if subscription.wildcard:
            names |= set(self.cache.all(type_url))
        return names

    def _answer(
        self,
        type_url: str,
        subscription: Subscription,
        names: set[str],
        is_first: bool = False,
    ) -> bytes | None:
        """`is_first`: names without a resource are reported as removed, too; later only what was
        there is reported as removed."""
        changed = [
            resource
            for resource in self.cache.select(type_url, sorted(names))
            if subscription.sent.get(resource.name) != resource.version
        ]
        known = self.cache.all(type_url)
        gone = [
            name
            for name in sorted(names)
            if name not in known and (is_first or name in subscription.sent)
        ]
        if not (changed or gone or (is_first and subscription.wildcard)):
            return None
        for name in gone:
            subscription.sent.pop(name, None)
        subscription.nonce = self._nonce()
        subscription.expect(
            {**dict.fromkeys(gone, ""), **{resource.name: resource.version for resource in changed}}
        )
        return delta_response(type_url, subscription.nonce, changed, gone)


def _version(resources: list[Resource]) -> str:
    """Of an answer: the same resources have the same version, whatever server sends them."""
    digest = hashlib.blake2b(digest_size=8)
    for resource in resources:
        digest.update(resource.version.encode())
    return digest.hexdigest()


# --- the wire: responses are written by hand, so that a resource is serialised once ---


def response(type_url: str, version: str, nonce: str, resources: Iterable[Resource]) -> bytes:
    """A `envoy.service.discovery.v3.DiscoveryResponse`."""
    parts = [_field(1, version.encode())]
    parts += [_field(2, resource.body) for resource in resources]
    parts += [_field(4, type_url.encode()), _field(5, nonce.encode())]
    return b"".join(parts)


@dataclass(frozen=True)
class _CompleteResponse:
    """Every resource of a type in one answer, the same for all clients who want everything: a
    thousand of them hold one.

    Its nonce says what is in it, and so is the same for all of them, too.
    """

    nonce: str
    versions: dict[str, str]
    body: bytes


def _complete_response(type_url: str, resources: Mapping[str, Resource]) -> _CompleteResponse:
    listed = list(resources.values())
    version = _version(listed)
    versions = {resource.name: resource.version for resource in listed}
    return _CompleteResponse(version, versions, response(type_url, version, version, listed))


def delta_response(
    type_url: str, nonce: str, resources: Iterable[Resource], removed: Iterable[str]
) -> bytes:
    """A `envoy.service.discovery.v3.DeltaDiscoveryResponse`."""
    parts = [_field(2, _named(resource)) for resource in resources]
    parts += [_field(4, type_url.encode()), _field(5, nonce.encode())]
    parts += [_field(6, name.encode()) for name in removed]
    return b"".join(parts)


def _named(resource: Resource) -> bytes:
    return (
        _field(3, resource.name.encode())
        + _field(1, resource.version.encode())
        + _field(2, resource.body)
    )


def _field(number: int, value: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(value)) + value
