"""Dynamic resource allocation: devices that drivers offer in ResourceSlices, and how claims get
theirs.

`inventory` has what is offered, by pool and node; `requests`, `constraints` and `sharing` say what
a claim asks for; `allocator` searches the devices that a node could give to some claims and
`results` writes them down; `tracker` knows all of this, with what claims have and what is reserved
for them in this process; `claim_gate` keeps pods out of the queue whose claims do not exist. These
are pure. `binder` writes allocations to the API server.
"""
