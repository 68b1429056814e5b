"""Network policies: who may talk to whom, held by nftables on the node of each pod.

`model` reads policies and pods into small values, `semantics` says what they allow (for `tiphys
policy explain` and for tests). `table` keeps the ruleset of one node incrementally: `chains` are
made of policies, `memberships` say which pods are in which sets, and `elements` what of them has to
be written, which `script` does for nft. `enforcer` joins all this to informers.
Objects enter there, transactions leave through `network.nft`. May import client.
"""
