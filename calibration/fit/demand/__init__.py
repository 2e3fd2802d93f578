"""Layer 7: sessions of agents, and arrivals of requests."""
