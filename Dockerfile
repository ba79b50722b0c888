# The sidecar's image. Two stages: what builds it does not ship.
#
#   docker build -t zervi-sidecar:0.2.0.dev0 .
#   docker run --rm -v "$PWD/config:/etc/zervi:ro" zervi-sidecar:0.2.0.dev0
#
# The Python is the one that the tests run on; name it by digest in a pipeline of yours.
FROM python:3.11-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
# Every package by version and hash, and only wheels: nothing is compiled, nothing runs a setup.py. The locks are
# complete, so nothing is resolved.
COPY requirements.lock requirements-build.lock ./
RUN python -m venv --without-pip /opt/zervi
RUN python -m pip --python /opt/zervi/bin/python install --no-deps --require-hashes --only-binary :all: -r requirements.lock
RUN python -m pip install --no-deps --require-hashes --only-binary :all: -r requirements-build.lock
# The sources last: a change in them does not install the packages again.
COPY pyproject.toml README.md LICENSE ./
COPY sidecar ./sidecar
RUN python -m pip wheel --no-deps --no-build-isolation --wheel-dir dist .
RUN python -m pip --python /opt/zervi/bin/python install --no-deps --no-index --find-links dist zervi-sidecar

FROM python:3.11-slim
RUN python -m pip uninstall --yes pip setuptools wheel
COPY --from=build /opt/zervi /opt/zervi
# The root file system may be read-only: no bytecode is written, it came with the packages.
ENV PYTHONDONTWRITEBYTECODE=1
# By number, so that Kubernetes can tell that it is not root.
USER 65532:65532
# Health is a gRPC probe's (see envoy/kubernetes.yaml): no HEALTHCHECK, which would start a Python each time.
STOPSIGNAL SIGTERM
ENTRYPOINT ["/opt/zervi/bin/zervi-sidecar"]
CMD ["serve", "--config", "/etc/zervi/sidecar.yaml"]
