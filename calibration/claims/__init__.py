"""Predicted against measured: `python -m calibration.claims` writes docs/accuracy.md."""
