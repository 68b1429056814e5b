"""A hollow cloud: machines with types, zones, prices and images, of which nothing is real but the
Node objects, so that a laptop can try a fleet of hundreds of nodes.

For add-ons that want machines. `catalog` reads what there is (`catalog.yaml`, pure), `machines` has
the cloud: it launches a machine of an offering as a hollow node of this process, remembers it in a
file, interrupts it and takes it away. Knows of no add-on.
"""
