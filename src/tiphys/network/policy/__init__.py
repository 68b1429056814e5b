"""Network policies: who may talk to whom, held by nftables on the node of each pod.

`model` reads policies and pods into small values, `semantics` says what they allow (for `tiphys
policy explain` and for tests), `table` keeps the ruleset of one node incrementally, `script` writes
it for nft, `enforcer` joins it to informers. Objects enter at the enforcer, transactions leave
through `network.nft`. May import client.
"""
