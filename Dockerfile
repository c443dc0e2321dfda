# Two stages: the first compiles, the second holds Debian's Python and the proxy and nothing else: no shell, no root.
FROM debian:12-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY pyproject.toml setup.py README.md LICENSE NOTICE ./
COPY pyproxy ./pyproxy
RUN python3 -m venv /venv && /venv/bin/pip install --no-cache-dir .

# The interpreter of the first stage: what was compiled for one runs in the other.
FROM gcr.io/distroless/python3-debian12:nonroot
COPY --from=build /venv/lib/python3.11/site-packages /opt/pyproxy
ENV PYTHONPATH=/opt/pyproxy PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
STOPSIGNAL SIGTERM
ENTRYPOINT ["python3", "-m", "pyproxy"]
CMD ["-c", "/etc/pyproxy/pyproxy.yaml"]
