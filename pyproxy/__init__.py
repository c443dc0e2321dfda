"""pyproxy: a data-plane proxy that takes the place of the Envoy binary."""

__version__ = "0.1.0"
