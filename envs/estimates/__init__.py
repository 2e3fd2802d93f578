"""What a supervisor can work out from public knowledge alone: worst power, lowest caps to come, service, backlogs."""
