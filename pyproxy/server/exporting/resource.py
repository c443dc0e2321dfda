"""The resource that telemetry is about (OpenTelemetry): this proxy, as the configuration and OTEL_* describe it."""

from __future__ import annotations

from importlib import metadata

from opentelemetry.sdk.resources import OTELResourceDetector

UNKNOWN = "unknown_service:pyproxy"


def resource_attributes(configured: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """What the configuration says stands above OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME."""
    found = {
        "service.name": UNKNOWN,
        "telemetry.sdk.language": "python",
        "telemetry.sdk.name": "pyproxy",
        "telemetry.sdk.version": _version(),
    }
    found |= {str(key): str(value) for key, value in OTELResourceDetector().detect().attributes.items()}
    found |= {key: value for key, value in configured if value}
    return found


def _version() -> str:
    try:
        return metadata.version("pyproxy-mesh")
    except metadata.PackageNotFoundError:
        return "0"
