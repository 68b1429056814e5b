"""An index of the affinity terms that pods on nodes have, by the pods that they match. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tiphys.scheduler.counting import PodCounts
from tiphys.scheduler.podinfo import PodInfo
from tiphys.scheduler.podrules import AffinityTerm
from tiphys.scheduler.selector_index import Label, anchor_of

# Where a term is found: a namespace that it is about ("": all), and a label that a pod must have to
# match it.
_TermKey = tuple[str, Label | None]


@dataclass
class _TermHolders:
    """The pods that have one term."""

    counts: PodCounts
    total: int = 0


class TermIndex:
    """Affinity terms that pods on nodes have, and how many pods of each row have them. Terms that
    no pod has are dropped."""

    def __init__(self) -> None:
        self._holders: dict[AffinityTerm, _TermHolders] = {}
        self._terms_by_key: dict[_TermKey, dict[AffinityTerm, None]] = {}

    def __bool__(self) -> bool:
        return bool(self._holders)

    def add(self, term: AffinityTerm, row: int, sign: int, size: int) -> None:
        """A pod with the term came to a row (1) or left it (-1). `size` is the number of rows."""
        holders = self._holders.get(term)
        if holders is None:
            holders = self._holders[term] = _TermHolders(PodCounts(size))
            for key in self._keys(term):
                self._terms_by_key.setdefault(key, {})[term] = None
        holders.counts.add(row, sign)
        holders.total += sign
        if not holders.total:
            self._drop(term)

    def _drop(self, term: AffinityTerm) -> None:
        del self._holders[term]
        for key in self._keys(term):
            terms = self._terms_by_key[key]
            del terms[term]
            if not terms:
                del self._terms_by_key[key]

    @staticmethod
    def _keys(term: AffinityTerm) -> Iterator[_TermKey]:
        anchor = anchor_of(term.selector)
        if term.namespace_selector is not None or not term.namespaces:
            yield "", anchor
            return
        for namespace in term.namespaces:
            yield namespace, anchor

    def matching(
        self, pod: PodInfo, namespace_labels: Mapping[str, str]
    ) -> Iterator[tuple[AffinityTerm, PodCounts]]:
        """The terms that match a pod, whose namespace has these labels, with the pods that have the
        terms."""
        for namespace in (pod.namespace, ""):
            for anchor in (None, *pod.labels.items()):
                for term in self._terms_by_key.get((namespace, anchor), ()):
                    if _in_namespaces(
                        term, pod.namespace, namespace_labels
                    ) and term.selector.matches(pod.labels):
                        yield term, self._holders[term].counts

    def grow(self, rows: int) -> None:
        for holders in self._holders.values():
            holders.counts.grow(rows)


def _in_namespaces(term: AffinityTerm, namespace: str, namespace_labels: Mapping[str, str]) -> bool:
    """Whether a term that was found by its namespace is about it: a namespace selector has still to
    be asked."""
    if term.namespace_selector is None or namespace in term.namespaces:
        return True
    return term.namespace_selector.matches(namespace_labels)
