"""The service proxy: services and endpoint slices become nftables rules on every node.

`endpoints` and `hostports` say where a port leads, `serviceports` what a service needs, in the
words of `rules`. `table` keeps what is in force and says what changes (`numbers` gives endpoints
theirs), `wire` and `script` put it into bytes and text; all pure. `kernel` writes it, `flows`
forgets what leads nowhere any more, `service_proxy` joins them to informers, `healthchecks` and
`health` answer load balancers. The semantics are those of upstream's kube-proxy in its nftables
mode.
"""
