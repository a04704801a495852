"""What the tests of the whole server stand on: a throw-away PostgreSQL, nodes, and a small Matrix client."""
