"""The fixed part of the table, as text for nft. Pure."""

from __future__ import annotations

from tiphys.network.proxy.wire import MASQUERADED, Family

_WHEN_NEW = "policy accept; ct state new meta l4proto"
_MOST_CLIENTS = 1_000_000  # that the kernel remembers for services whose clients stay


def base(family: Family, table: str, pod_cidrs: list[str], service_cidrs: list[str]) -> str:
    """The table, its maps and its fixed chains.

    Addresses are translated at priority dstnat, before which the firewall of load balancers'
    addresses (-110) sees the packet as it came. What leads nowhere is refused by filters, which nat
    chains are not."""
    pods = f"{{ {', '.join(pod_cidrs)} }}"
    ip = "ip" if family.version == 4 else "ip6"
    address = f"ipv{family.version}_addr"
    loopback = "127.0.0.0/8" if family.version == 4 else "::1"
    inside = f"{{ {', '.join([*pod_cidrs, *service_cidrs])} }}"
    return f"""
table {ip} {table} {{
  map services {{ type inet_proto . {address} . inet_service : verdict; }}
  map nodeports {{ type inet_proto . inet_service : verdict; }}
  map hostports {{ type inet_proto . inet_service : verdict; }}
  map firewall {{ type inet_proto . {address} . inet_service : verdict; }}
  map dead {{ type inet_proto . {address} . inet_service : verdict; }}
  map deadports {{ type inet_proto . inet_service : verdict; }}
  map hairpins {{ type {address} . {address} : verdict; }}
  map endpoints {{ type mark : {address} . inet_service; }}
  map members {{ type mark : mark; }}
  map affinity {{
    type mark . {address} : mark; flags dynamic,timeout; timeout 3h; size {_MOST_CLIENTS};
  }}
  chain dispatch {{
    meta l4proto . {ip} daddr . th dport vmap @services
    fib daddr type local {ip} daddr != {loopback} meta l4proto . th dport vmap @nodeports
    fib daddr type local meta l4proto . th dport vmap @hostports
  }}
  set pods {{ type {address}; flags interval; elements = {pods}; }}
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
    {_WHEN_NEW} . {ip} daddr . th dport vmap @firewall
  }}
  chain output-firewall {{
    type filter hook output priority -110;
    {_WHEN_NEW} . {ip} daddr . th dport vmap @firewall
  }}
  chain forward-dead {{
    type filter hook forward priority -1;
    {_WHEN_NEW} . {ip} daddr . th dport vmap @dead
  }}
  chain output-dead {{
    type filter hook output priority -1;
    {_WHEN_NEW} . {ip} daddr . th dport vmap @dead
  }}
  chain input-dead {{
    type filter hook input priority -1;
    {_WHEN_NEW} . {ip} daddr . th dport vmap @dead
    ct state new meta l4proto . th dport vmap @deadports
  }}
  chain input-loopback {{
    type filter hook input priority -1; policy accept;
    iifname != "lo" {ip} daddr {loopback} ct state new drop
  }}
  chain forward {{
    type filter hook forward priority filter; policy accept;
    {ip} saddr {pods} accept
    {ip} daddr {pods} accept
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    meta mark & {MASQUERADED:#x} == {MASQUERADED:#x} masquerade
    ct status dnat {ip} saddr . {ip} daddr vmap @hairpins
    {ip} saddr {pods} {ip} daddr != {inside} fib daddr type != local masquerade
  }}
}}
"""


def removal(family: Family, table: str) -> str:
    """Takes a table away, if there is one."""
    ip = "ip" if family.version == 4 else "ip6"
    return f"add table {ip} {table}\ndelete table {ip} {table}\n"
