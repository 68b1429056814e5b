"""What describes the API to clients: discovery, OpenAPI, the columns of tables."""
