"""Policies that learn: algorithms by name, training with exact resume, and checkpoints without pickle."""
