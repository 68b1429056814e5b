"""Images: how their names are read, who may pull them (`registries`), and when they are pulled."""
