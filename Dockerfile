# Two stages: the first compiles, the second holds an interpreter and the proxy and nothing else: no shell, no root.
FROM python:3.13-slim-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY pyproject.toml setup.py README.md LICENSE NOTICE ./
COPY pyproxy ./pyproxy
RUN python -m venv --copies /opt/pyproxy && /opt/pyproxy/bin/pip install --no-cache-dir .

# What the interpreter needs, gathered so that the last stage needs no package manager.
RUN mkdir -p /root-fs/opt /root-fs/usr/local/lib /root-fs/etc /root-fs/tmp \
    && cp -a /opt/pyproxy /root-fs/opt/ \
    && cp -a /usr/local/lib/python3.13 /usr/local/lib/libpython3* /root-fs/usr/local/lib/ \
    && rm -rf /root-fs/usr/local/lib/python3.13/site-packages /root-fs/usr/local/lib/python3.13/test \
    && echo 'pyproxy:x:65532:65532::/:/nonexistent' > /root-fs/etc/passwd \
    && chmod 1777 /root-fs/tmp

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /root-fs/ /
# The C libraries that the standard library is linked with.
COPY --from=build /lib/x86_64-linux-gnu/libz.so.1 /lib/x86_64-linux-gnu/libbz2.so.1.0 /lib/x86_64-linux-gnu/liblzma.so.5 \
     /lib/x86_64-linux-gnu/libuuid.so.1 /lib/x86_64-linux-gnu/
COPY --from=build /usr/lib/x86_64-linux-gnu/libffi.so.8 /usr/lib/x86_64-linux-gnu/libssl.so.3 \
     /usr/lib/x86_64-linux-gnu/libcrypto.so.3 /usr/lib/x86_64-linux-gnu/
ENV LD_LIBRARY_PATH=/usr/local/lib PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
STOPSIGNAL SIGTERM
ENTRYPOINT ["/opt/pyproxy/bin/python", "-m", "pyproxy"]
CMD ["-c", "/etc/pyproxy/pyproxy.yaml"]
