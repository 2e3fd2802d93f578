"""Rules that people wrote: small, one idea each, no training."""
