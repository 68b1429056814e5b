"""An xDS server: what Envoy and gRPC clients need to know of services, pushed to them as it
changes.

Enters: named protobuf messages, compiled from Kubernetes objects (`cache`). Leaves: the discovery
protocol, version 3 (LDS, RDS, CDS, EDS, SDS over one aggregated stream, state of the world and
incremental), and for people CSDS, which says who has which version. Needs the extra `xds`; nothing
else of Tiphys imports it.
"""
