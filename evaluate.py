"""Train a policy (placeholder until the configs land)."""
