"""What the API accepts of pods and nodes of ours do not carry out: its author is warned, for an
object that does nothing is a trap.

A node that carries one of them out takes its line away. Volumes of kinds that nodes do not know,
unsafe sysctls, users of the pod's own and the like are not here: nodes refuse such pods, and report
so.
"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api.core_v1 import (
    Container,
    PodSecurityContext,
    PodSpec,
    SecurityContext,
)

NOT_CARRIED_OUT = "is not carried out by nodes of Tiphys"


def omissions(spec: PodSpec, path: str) -> Iterator[str]:
    """Of a pod, or of a template of pods."""
    if spec.security_context is not None:
        yield from _security(spec.security_context, f"{path}.securityContext")
    for kind, containers in (
        ("initContainers", spec.init_containers),
        ("containers", spec.containers),
    ):
        for index, container in enumerate(containers):
            if not _is_plain(container):
                yield from _container(container, f"{path}.{kind}[{index}]")


def _security(context: PodSecurityContext | SecurityContext, path: str) -> Iterator[str]:
    """Of a pod or a container."""
    if context.se_linux_options is not None:
        yield f"{path}.seLinuxOptions: {NOT_CARRIED_OUT}"


def _is_plain(container: Container) -> bool:
    """Whether there is nothing to warn of, as of nearly all: called for every container that is
    created."""
    return container.security_context is None


def _container(container: Container, path: str) -> Iterator[str]:
    context = container.security_context
    if context is not None:
        yield from _security(context, f"{path}.securityContext")
