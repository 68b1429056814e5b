"""A small cluster of services to ask about, and queries in every shape."""

from __future__ import annotations

import dns.message
import dns.rdatatype

from tests.network.builders import endpoint, port, service, slice_of, slice_with
from tiphys.addons.dns.answers import Answer, Question
from tiphys.addons.dns.zone import Zone
from tiphys.api import core_v1, discovery_v1

DOMAIN = "cluster.local"


class Objects:
    """Services of namespace d: s (a cluster IP), headless, eager (publishes what is not ready), out
    and far (aliases)."""

    def __init__(self) -> None:
        ports = [port("http", 80), port("dns", 53, "UDP"), port("dns", 5353), port("", 9, "SCTP")]
        self.services = {
            "d/s": service(ports=ports),
            "d/six": service("six", "fd00::9"),
            "d/dual": service("dual", "10.96.0.7", cluster_ips=["10.96.0.7", "fd00::7"]),
            "d/headless": service("headless", "None"),
            "d/eager": service("eager", "None", publish_not_ready_addresses=True),
            "d/empty": service("empty", "None"),
            "d/out": alias("out", "Example.org."),
            "d/inner": alias("inner", "s.d.svc.cluster.local"),
            "d/loop": alias("loop", "loop.d.svc.cluster.local"),
            "d/unsendable": alias("unsendable", "a" * 64 + ".org"),
            "kube-system/kube-dns": service("kube-dns", "10.96.0.10"),
        }
        self.by_service = {
            "d/headless": [
                slice_with(
                    "headless",
                    [
                        endpoint("10.1.0.1", hostname="web-0"),
                        endpoint("10.1.0.2"),
                        endpoint("10.1.0.3", ready=False, hostname="web-2"),
                        endpoint("10.1.0.4", ready=None),
                    ],
                    (("http", 8080, "TCP"), ("http", 8081, "UDP"), ("later", None, "TCP")),
                )
            ],
            "d/eager": [slice_of("eager", "10.1.0.7", ready=False)],
        }

    def service(self, namespace: str, name: str) -> core_v1.Service | None:
        return self.services.get(f"{namespace}/{name}")

    def slices(self, namespace: str, name: str) -> list[discovery_v1.EndpointSlice]:
        return self.by_service.get(f"{namespace}/{name}", [])

    def namespace_exists(self, name: str) -> bool:
        return name in ("d", "kube-system")

    def by_address(self, address: str) -> list[str]:
        return {"10.96.0.9": ["s.d"], "10.1.0.1": ["web-0.headless.d"], "fd00::9": ["six.d"]}.get(
            address, []
        )


def alias(name: str, target: str) -> core_v1.Service:
    return service(name, "", type="ExternalName", external_name=target)


def zone() -> Zone:
    return Zone(DOMAIN, Objects())


def question(name: str, kind: str = "A") -> Question:
    return Question(tuple(name.split(".")), dns.rdatatype.from_text(kind))


def texts(answer: Answer) -> list[str]:
    """What the records of an answer say, each as ``TYPE DATA``."""
    return [
        f"{dns.rdatatype.to_text(rrset.rdtype)} {rdata.to_text()}"
        for rrset in answer.records
        for rdata in rrset
    ]
