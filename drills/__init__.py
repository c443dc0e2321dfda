"""Fault drills: the same misfortune for pyproxy and Envoy, on the same configuration, and what clients saw of it."""
