"""The service proxy: `rules` turns services and endpoint slices into a ruleset, `nft` changes the kernel's into it."""
