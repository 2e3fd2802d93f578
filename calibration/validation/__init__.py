"""Predicted against measured: `python -m calibration.validation` writes docs/validation.md and its figures."""
