"""The service proxy: services and endpoint slices become nftables rules on every node.

`endpoints` and `hostports` say where a port leads, `rules` makes the ruleset that a node needs,
`script` writes the way from one ruleset to the next for nft; all pure. `service_proxy` joins them
to informers and the kernel, `healthchecks` answers load balancers. The semantics are those of
upstream's kube-proxy in its nftables mode.
"""
