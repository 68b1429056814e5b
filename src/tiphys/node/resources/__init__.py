"""What a node has for pods: who is admitted (`admission`), whose containers are resized (`resize`),
who uses more than is allowed (`eviction`), and who may use how much `swap`."""
