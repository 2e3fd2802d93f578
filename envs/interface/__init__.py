"""What passes between a policy and a fleet: actions, observations, rewards, infos, and constructor arguments.

| module | subject |
|---|---|
| `action`, `setpoint_action` | what a policy sets: the two actions |
| `control_segments`, `setpoint_segments` | their segments, one function each: begin here to add one |
| `segments`, `entries`, `fillings` | what a segment is made of: law, entries, and how it fills a control |
| `decisions` | actions, tick by tick: controls for several ticks, or a loop that holds set-points |
| `observation`, `supervisor_observation` | what a policy sees: the two observations |
| `scales` | what their fields are divided by |
| `reward` | what a tick was worth |
| `costs` | what a tick cost beside money, for limits |
| `infos` | what a step reports besides |
| `parts`, `arguments` | checks of what a user asks for: parts by name or `module:Class`, and all other arguments |
| `render`, `picture`, `frame_state` | frames: text and pictures |
| `document` | the tables of docs/environments/fleet.md, generated |
"""
