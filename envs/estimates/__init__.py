"""Estimates from a scenario and what a policy sees: worst power, lowest caps to come, service rates, backlogs."""
