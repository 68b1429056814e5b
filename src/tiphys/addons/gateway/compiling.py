"""Everything at once: the objects of a moment to one world, and their verdicts."""

from __future__ import annotations

from dataclasses import dataclass

from tiphys.addons.addresses import Pool
from tiphys.addons.gateway import Settings
from tiphys.addons.gateway.gateways import Report, compile_gateways
from tiphys.addons.gateway.ingress import Compiled, compile_ingresses
from tiphys.addons.gateway.model import Certificate, Port, World
from tiphys.addons.gateway.snapshot import Objects


@dataclass
class Outcome:
    world: World
    ingress: Compiled
    gateways: Report
    address: str


def compile_world(objects: Objects, settings: Settings) -> Outcome:
    """Pure; it may run in a thread, for it only reads."""
    pool = Pool(settings.addresses)
    ingress = compile_ingresses(
        objects.ingresses,
        objects.ingress_classes,
        objects.services,
        objects.secrets,
        pool.first,
        settings.http_port,
        settings.https_port,
    )
    taken = {(port.address, port.port) for port in ingress.ports}
    gateways = compile_gateways(objects, pool, taken)
    secrets: dict[str, Certificate] = {**ingress.secrets, **gateways.secrets}
    ports: list[Port] = [*ingress.ports, *gateways.ports]
    world = World(tuple(ports), tuple(sorted(secrets.items(), key=lambda pair: pair[0])))
    return Outcome(world, ingress, gateways, settings.published or pool.first)
