"""An xDS server: what Envoy and gRPC clients need to know of services, pushed to them as it
changes.

Enters: named protobuf messages, compiled from Kubernetes objects (`cache`). Leaves: the discovery
protocol, version 3 (LDS, RDS, CDS, EDS, SDS over one aggregated stream, state of the world and
incremental), and for people CSDS, which says who has which version. `envoy` keeps an Envoy alive
beside us, `publishing` hands it resources in an order that drops no request. Needs the extra `xds`;
add-ons alone import it.
"""
