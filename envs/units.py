"""What a unit is in another one."""

SECONDS_PER_HOUR = 3600.0
