# BASE is any image with Python 3.11 or newer, its venv and pip, and CA certificates. RUNTIME, where it is another one,
# needs the same Python at the same path, CA certificates, and neither pip nor a shell.
#
#   docker build --tag rotator .
#   docker build --tag rotator --build-arg BASE=registry.example.internal/python:3.13-slim .
ARG BASE=python:3.13-slim
ARG RUNTIME=${BASE}

FROM ${BASE} AS build
WORKDIR /src
# First what changes seldom: every package with the hash that its lock file says, and as a wheel, so that nothing is
# compiled here. The second environment builds rotator's own wheel, and is left behind.
COPY requirements.lock requirements-build.lock ./
RUN python3 -m venv --without-pip /opt/rotator \
 && python3 -m venv --without-pip /opt/build \
 && python3 -m pip --python /opt/rotator/bin/python3 --no-cache-dir --disable-pip-version-check \
    install --quiet --no-compile --require-hashes --only-binary :all: --requirement requirements.lock \
 && python3 -m pip --python /opt/build/bin/python3 --no-cache-dir --disable-pip-version-check \
    install --quiet --no-compile --require-hashes --only-binary :all: --requirement requirements-build.lock
COPY LICENSE README.md pyproject.toml ./
COPY rotator rotator
# Bytecode is made here, because the image may be read-only where it runs; by content, so that two builds are alike.
RUN /opt/build/bin/hatchling build --target wheel \
 && python3 -m pip --python /opt/rotator/bin/python3 --no-cache-dir --disable-pip-version-check \
    install --quiet --no-compile --no-index --no-deps dist/*.whl \
 && /opt/rotator/bin/python3 -m compileall -q --invalidation-mode unchecked-hash /opt/rotator/lib \
 && mkdir /state

FROM ${RUNTIME}
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="rotator" \
      org.opencontainers.image.description="Keeps Together AI project API keys fresh in Vault, OpenBao, AWS Secrets Manager and dotenv files" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /opt/rotator /opt/rotator
# The only place that it writes to; a named volume takes over the owner.
COPY --from=build --chown=10001:10001 /state /var/lib/rotator
ENV PATH=/opt/rotator/bin:/usr/local/bin:/usr/bin:/bin \
    ROTATOR_CONFIG=/etc/rotator/rotator.yaml
VOLUME /var/lib/rotator
WORKDIR /var/lib/rotator
# A number: Kubernetes can tell that it is not root (runAsNonRoot).
USER 10001:10001
# With the section http in the configuration: whether the service gets on. Without: whether the journal is there and can be read.
HEALTHCHECK --interval=1m --timeout=30s --start-period=30s CMD ["/opt/rotator/bin/rotator", "health"]
# No shell stands between: signals reach rotator, which as process 1 buries what its hooks leave behind.
ENTRYPOINT ["/opt/rotator/bin/rotator"]
