"""The text for nft: the fixed part of the table, and the way from one ruleset to the next. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.network.proxy.rules import MAPS, Ruleset

_WHEN_NEW = "policy accept; ct state new meta l4proto"


def base(table: str, pod_cidr: str, service_cidr: str) -> str:
    """The table, its maps and its fixed chains. `pod_cidr` may be several networks with commas.

    Addresses are translated at priority dstnat, before which the firewall of load balancers'
    addresses (-110) sees the packet as it came. What leads nowhere is refused by filters, which nat
    chains are not."""
    pods = f"{{ {pod_cidr.replace(',', ', ')} }}"
    return f"""
table ip {table} {{
  map services {{ type inet_proto . ipv4_addr . inet_service : verdict; }}
  map nodeports {{ type inet_proto . inet_service : verdict; }}
  map hostports {{ type inet_proto . inet_service : verdict; }}
  map firewall {{ type inet_proto . ipv4_addr . inet_service : verdict; }}
  map dead {{ type inet_proto . ipv4_addr . inet_service : verdict; }}
  map deadports {{ type inet_proto . inet_service : verdict; }}
  map hairpins {{ type ipv4_addr . ipv4_addr : verdict; }}
  chain dispatch {{
    meta l4proto . ip daddr . th dport vmap @services
    fib daddr type local ip daddr != 127.0.0.0/8 meta l4proto . th dport vmap @nodeports
    fib daddr type local meta l4proto . th dport vmap @hostports
  }}
  set pods {{ type ipv4_addr; flags interval; elements = {pods}; }}
  chain silence {{ drop; }}
  chain refuse {{ meta l4proto tcp reject with tcp reset; reject; }}
  chain hide {{ masquerade; }}
  chain prerouting {{
    type nat hook prerouting priority dstnat; policy accept;
    jump dispatch
  }}
  chain output {{
    type nat hook output priority -100; policy accept;
    jump dispatch
  }}
  chain prerouting-firewall {{
    type filter hook prerouting priority -110;
    {_WHEN_NEW} . ip daddr . th dport vmap @firewall
  }}
  chain output-firewall {{
    type filter hook output priority -110;
    {_WHEN_NEW} . ip daddr . th dport vmap @firewall
  }}
  chain forward-dead {{
    type filter hook forward priority -1;
    {_WHEN_NEW} . ip daddr . th dport vmap @dead
  }}
  chain output-dead {{
    type filter hook output priority -1;
    {_WHEN_NEW} . ip daddr . th dport vmap @dead
  }}
  chain input-dead {{
    type filter hook input priority -1;
    {_WHEN_NEW} . th dport vmap @deadports
  }}
  chain input-loopback {{
    type filter hook input priority -1; policy accept;
    iifname != "lo" ip daddr 127.0.0.0/8 ct state new drop
  }}
  chain forward {{
    type filter hook forward priority filter; policy accept;
    ip saddr {pods} accept
    ip daddr {pods} accept
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    meta mark & 0x4000 == 0x4000 masquerade
    ip saddr . ip daddr vmap @hairpins
    ip saddr {pods} ip daddr != {pods} ip daddr != {service_cidr} fib daddr type != local masquerade
  }}
}}
"""


def changes(table: str, old: Ruleset, new: Ruleset) -> str:
    """The script from one ruleset to the next, empty where they are the same: what did not change
    is not touched.

    One transaction, in which whatever is named comes before whatever names it, and goes after.
    """
    t = f"ip {table}"
    lines = [*_additions(t, old, new), *_elements(t, old, new), *_removals(t, old, new)]
    return "".join(f"{line}\n" for line in lines)


def _additions(t: str, old: Ruleset, new: Ruleset) -> Iterator[str]:
    """New sets, and chains without their rules."""
    for name, seconds in new.sets.items():
        if name not in old.sets:
            flags = f"flags dynamic,timeout; timeout {seconds}s;"
            yield f"add set {t} {name} {{ type ipv4_addr; {flags} }}"
    for name in new.chains:
        if name not in old.chains:
            yield f"add chain {t} {name}"


def _elements(t: str, old: Ruleset, new: Ruleset) -> Iterator[str]:
    """Elements that go or lead elsewhere, then rules, then elements that come."""
    for name in MAPS:
        before, after = old.elements.get(name, {}), new.elements.get(name, {})
        for key, verdict in before.items():
            if after.get(key) != verdict:
                yield f"delete element {t} {name} {{ {key} : {verdict} }}"
    for name, rules in new.chains.items():
        if old.chains.get(name) != rules:
            yield f"flush chain {t} {name}"
            yield from (f"add rule {t} {name} {rule}" for rule in rules)
    for name in MAPS:
        before, after = old.elements.get(name, {}), new.elements.get(name, {})
        for key, verdict in after.items():
            if before.get(key) != verdict:
                yield f"add element {t} {name} {{ {key} : {verdict} }}"


def _removals(t: str, old: Ruleset, new: Ruleset) -> Iterator[str]:
    """Old chains are emptied before the first of them goes, for they may name each other."""
    removed = [name for name in old.chains if name not in new.chains]
    yield from (f"flush chain {t} {name}" for name in removed)
    yield from (f"delete chain {t} {name}" for name in removed)
    for name in old.sets:
        if name not in new.sets:
            yield f"delete set {t} {name}"
