"""The network of a node: `pods` gives addresses (CNI), `proxy` makes services reachable and
`policy` keeps pods apart, both by way of `nft`.

Each has a pure core (objects → a configuration or a ruleset) and a thin shell. May import client.
"""
