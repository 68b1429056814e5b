"""Which rules give everything that others give.

A rule expands to each of its verbs on each of its resources in each of its groups under each of its
names: a body of a few kilobytes for millions of them. They are not counted out: values that the
same owned rules give are treated as one.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator

from tiphys.api import rbac_v1


def size(rule: rbac_v1.PolicyRule) -> int:
    """How many values a rule lists."""
    lists = (
        rule.verbs,
        rule.api_groups,
        rule.resources,
        rule.resource_names,
        rule.non_resource_urls,
    )
    return sum(map(len, lists))


class _Index:
    """Which of the owned rules list a value, as bits; `all` are those that list everything."""

    def __init__(self, lists: Iterable[list[str]], everything: Callable[[list[str]], bool]) -> None:
        self.all = 0
        self.listing: dict[str, int] = {}
        for place, values in enumerate(lists):
            if everything(values):
                self.all |= 1 << place
            for value in values:
                self.listing[value] = self.listing.get(value, 0) | 1 << place

    def of(self, value: str) -> int:
        return self.all | self.listing.get(value, 0)


class Owned:
    """The rules that a user has."""

    def __init__(self, rules: list[rbac_v1.PolicyRule]) -> None:
        def starred(values: list[str]) -> bool:
            return "*" in values

        self._verbs = _Index((rule.verbs for rule in rules), starred)
        self._groups = _Index((rule.api_groups for rule in rules), starred)
        self._resources = _Index((rule.resources for rule in rules), starred)
        self._names = _Index((rule.resource_names for rule in rules), lambda names: not names)
        self._urls = _Index((rule.non_resource_urls for rule in rules), starred)
        self._prefixes = [
            (url[:-1], mask) for url, mask in self._urls.listing.items() if url.endswith("*")
        ]

    def missing(self, rules: Iterable[rbac_v1.PolicyRule]) -> Iterator[rbac_v1.PolicyRule]:
        """What of the rules is not given, one verb on one thing at a time."""
        for rule in rules:
            verbs = _classes(rule.verbs, self._verbs.of)
            for verb_class, urls in _uncovered(
                verbs, _classes(rule.non_resource_urls, self._of_url)
            ):
                yield from (
                    rbac_v1.PolicyRule(verbs=[verb], non_resource_urls=[url])
                    for verb, url in itertools.product(verb_class, urls)
                )
            groups = _classes(rule.api_groups, self._groups.of)
            resources = _classes(rule.resources, self._of_resource)
            names = _classes(rule.resource_names or [""], self._of_name)
            for chosen in _uncovered(verbs, groups, resources, names):
                for verb, group, resource, name in itertools.product(*chosen):
                    only = [name] if name else []
                    yield rbac_v1.PolicyRule(
                        verbs=[verb], api_groups=[group], resources=[resource], resource_names=only
                    )

    def _of_name(self, name: str) -> int:
        return self._names.of(name) if name else self._names.all

    def _of_resource(self, resource: str) -> int:
        subresource = resource.partition("/")[2]
        wildcard = self._resources.listing.get(f"*/{subresource}", 0) if subresource else 0
        return self._resources.of(resource) | wildcard

    def _of_url(self, url: str) -> int:
        rules = self._urls.of(url)
        for prefix, mask in self._prefixes:
            if url.startswith(prefix):
                rules |= mask
        return rules


def _classes(values: list[str], rules_with: Callable[[str], int]) -> list[tuple[int, list[str]]]:
    """Values by the rules that give them."""
    classes: dict[int, list[str]] = {}
    for value in dict.fromkeys(values):
        classes.setdefault(rules_with(value), []).append(value)
    return list(classes.items())


def _uncovered(*dimensions: list[tuple[int, list[str]]]) -> Iterator[list[list[str]]]:
    """The classes, one of each dimension, that no rule gives together."""
    for chosen in itertools.product(*dimensions):
        together = -1
        for mask, _ in chosen:
            together &= mask
        if not together:
            yield [values for _, values in chosen]
