"""The network of a node: `pods` gives addresses (CNI), `proxy` makes services reachable and `policy` keeps
pods apart (nftables), `dns` names services.

Each has a pure core (objects → a configuration, a ruleset, an answer) and a thin shell. May import client.
"""
