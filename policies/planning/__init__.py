"""Policies that plan: by trying decisions on copies of the fleet, or by a linear programme on forecasts."""
