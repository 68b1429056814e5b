"""What leads a pod's traffic through its sidecar: rules of nftables in the pod's network namespace.

An init container with NET_ADMIN writes them before anything else of the pod runs, as Istio's and
Linkerd's do by default: the sidecar itself, which lives as long as the pod, has no rights at all.
The rules stay when Envoy is away: then nothing comes through, and nothing leaves.
"""

from __future__ import annotations

from collections.abc import Iterable

from tiphys.addons.mesh.ports import INBOUND, METRICS, OUTBOUND, PROBES, USER


def ruleset(inbound_kept: Iterable[int] = (), outbound_kept: Iterable[int] = ()) -> str:
    """For `nft`. TCP is redirected, but for these ports of the pod and of others."""
    own = _set({METRICS, PROBES, *inbound_kept})
    others = set(outbound_kept)
    skipped = [f"tcp dport {_set(others)} return"] if others else []
    inbound = [f"tcp dport {own} return", f"meta l4proto tcp redirect to :{INBOUND}"]
    outbound = [
        f"meta skuid {USER} return",
        'oifname "lo" return',
        *skipped,
        f"meta l4proto tcp redirect to :{OUTBOUND}",
    ]
    return "\n".join(
        (
            "table inet tiphys_mesh {}",  # what an earlier attempt wrote goes
            "delete table inet tiphys_mesh",
            "table inet tiphys_mesh {",
            _chain("inbound", "prerouting", inbound),
            _chain("outbound", "output", outbound),
            "}",
        )
    )


def _chain(name: str, hook: str, rules: list[str]) -> str:
    body = "; ".join([f"type nat hook {hook} priority -100", *rules])
    return f"chain {name} {{ {body}; }}"


def _set(ports: set[int]) -> str:
    return "{ " + ", ".join(str(port) for port in sorted(ports)) + " }"
