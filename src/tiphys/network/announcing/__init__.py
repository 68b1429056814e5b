"""Says on the machines' own network where load balancers' addresses are: one node answers ARP and
NDP for each, and another does when that one is silent.

`election` decides which (pure), `frames` has the bytes (pure), `announcer` has the sockets and the
clock. Services, their endpoints and Nodes come in; packets go out. May import network's links.
"""
