"""Which cores and which memory containers have for themselves.

Three managers as of upstream's kubelet (`pkg/kubelet/cm`). The CPU manager (`cpus`) gives whole
cores to containers of guaranteed pods; all others share what is left. The memory manager (`memory`)
pins containers to the NUMA nodes whose memory they were promised. The topology manager
(`alignment`) asks these two, and other managers of what is near a NUMA node, for hints before a
pod is let in, and makes one of them.

`topology` says how the machine is built, `discovery` reads that from /sys. `assignment` chooses
cores, `hints` merges; both are pure. What was given is kept in `checkpoint`s and survives the
agent. `placement` is what the agent sees of it all: admit, place, release."""
