"""What passes between a policy and a fleet: actions, observations, rewards, infos, and constructor arguments."""
