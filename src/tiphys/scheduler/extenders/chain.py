"""The extenders of a profile, asked one after the other."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from tiphys.api import core_v1
from tiphys.scheduler.extenders.extender import Extender, ExtenderError, Victims
from tiphys.scheduler.preemption import Candidate, PreemptionResult

log = logging.getLogger(__name__)


@dataclass
class ExtenderVerdict:
    """Names of the nodes that all extenders `passed`, their `scores` by node, and why others
    `failed`.

    With an `error`, nothing else counts: the pod is tried again after a back-off.
    """

    passed: set[str]
    scores: dict[str, float] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)  # how many nodes failed for each
    unresolvable: set[str] = field(default_factory=set)
    error: str = ""


class ExtenderChain:
    def __init__(self, extenders: Sequence[Extender]) -> None:
        self._extenders = tuple(extenders)

    def is_interested(self, pod: core_v1.Pod) -> bool:
        """Whether any extender is to be asked about the pod."""
        return any(extender.is_interested(pod) for extender in self._extenders)

    async def filter_and_score(
        self, pod: core_v1.Pod, nodes: Sequence[core_v1.Node]
    ) -> ExtenderVerdict:
        """Each extender looks at the nodes that those before it passed."""
        verdict = ExtenderVerdict({node.metadata.name for node in nodes})
        for extender in self._extenders:
            if not extender.is_interested(pod):
                continue
            try:
                answer = await extender.filter(pod, nodes)
            except ExtenderError as error:
                log.warning("Extender %s did not filter nodes: %s", extender.url, error)
                verdict.error = str(error)
                return verdict
            for reason in answer.failed.values():
                verdict.reasons[reason] = verdict.reasons.get(reason, 0) + 1
            verdict.unresolvable |= answer.unresolvable
            verdict.passed = answer.passed
            nodes = [node for node in nodes if node.metadata.name in answer.passed]
            if not nodes:
                return verdict
            for name, score in (await extender.prioritize(pod, nodes)).items():
                verdict.scores[name] = verdict.scores.get(name, 0.0) + score
        return verdict

    async def filter_candidates(self, pod: core_v1.Pod, result: PreemptionResult) -> None:
        """Leaves of the candidates of a preemption those that every extender agrees with."""
        for extender in self._extenders:
            if not (extender.preempt_verb and result.candidates and extender.is_interested(pod)):
                continue
            try:
                result.candidates = await _agreed_candidates(extender, pod, result.candidates)
            except ExtenderError as error:
                log.warning("Extender %s did not process preemption: %s", extender.url, error)
                result.candidates = []
                result.error = str(error)
                return

    def binder_for(self, pod: core_v1.Pod) -> Extender | None:
        """The extender that binds the pod, if there is one."""
        for extender in self._extenders:
            if extender.bind_verb:
                return extender if extender.is_interested(pod) else None
        return None


async def _agreed_candidates(
    extender: Extender, pod: core_v1.Pod, candidates: Sequence[Candidate]
) -> list[Candidate]:
    """Raises ExtenderError."""
    victims = {
        candidate.node_name: Victims([v.pod for v in candidate.victims], candidate.pdb_violations)
        for candidate in candidates
    }
    agreed = await extender.preempt(pod, victims)
    remaining = []
    for candidate in candidates:
        on_node = agreed.get(candidate.node_name)
        if on_node is None or not on_node.uids:
            continue
        left = [victim for victim in candidate.victims if victim.uid in on_node.uids]
        remaining.append(Candidate(candidate.node_name, left, on_node.pdb_violations))
    return remaining
