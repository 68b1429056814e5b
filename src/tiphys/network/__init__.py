"""The network of a node: `pods` gives addresses (CNI), `proxy` makes services reachable and
`policy` keeps pods apart, both by rules of nftables; `announcing` answers for load balancers'
addresses on the wire. `podroutes` and `tunnel` lead to other machines' pods, `xds/` gives clients
and Envoys where services are.

Each has a pure core (objects → a configuration or a ruleset) and a thin shell. May import client.
"""
