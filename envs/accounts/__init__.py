"""What the episodes of N fleets add up to: sums, ledgers and metrics."""
