"""The world: sites, fleets, demand, and the Gymnasium environments over them."""

if __name__ != "tokenfleet.envs":
    raise ImportError("import tokenfleet.envs, not envs (a plain `envs` would load everything a second time)")
