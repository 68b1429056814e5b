"""Services, and the addresses and node ports that they take."""
