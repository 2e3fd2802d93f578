"""How the numbers of the catalogue come out of measurements: `python -m calibration.fit`, from the repository's root.

Not part of the installed package: the world reads only the catalogue's YAML. `data/` holds compact excerpts of
published measurements (its README names source, commit and licence of each); `extract` makes them from the originals,
`kernels`, `serving` and `power` hold the three fits, `fit` runs them, prints predicted against measured, and writes the
YAML. Demand has its own: `agent_sessions` and `traces` convert public records for the catalogue, `agents` fits the
description of an agent to the sessions, `arrivals` a process to the burstiness of chat.
"""
