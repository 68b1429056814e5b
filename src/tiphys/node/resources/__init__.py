"""What a node has for pods: who is admitted (`admission`), whose containers are resized (`resize`),
and who uses more than is allowed (`eviction`)."""
