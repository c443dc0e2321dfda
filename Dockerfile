# Two stages: the first compiles, the second holds Debian's Python and the proxy and nothing else: no shell, no root.
FROM debian:12-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev libnghttp2-dev pkg-config python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY pyproject.toml setup.py README.md LICENSE NOTICE ./
COPY pyproxy ./pyproxy
RUN python3 -m venv /venv && /venv/bin/pip install --no-cache-dir . \
    && mkdir /libraries && cp /usr/lib/*/libnghttp2.so.14 /libraries

# The interpreter of the first stage: what was compiled for one runs in the other.
FROM gcr.io/distroless/python3-debian12:nonroot
COPY --from=build /venv/lib/python3.11/site-packages /opt/pyproxy
COPY --from=build /libraries /opt/libraries
ENV PYTHONPATH=/opt/pyproxy LD_LIBRARY_PATH=/opt/libraries PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
STOPSIGNAL SIGTERM
ENTRYPOINT ["python3", "-m", "pyproxy"]
CMD ["-c", "/etc/pyproxy/pyproxy.yaml"]
