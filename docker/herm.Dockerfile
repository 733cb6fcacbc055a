# herm on Debian slim: PID 1, the command line and the built-in gateway.
#
#   cargo xtask dist && docker build -f docker/herm.Dockerfile -t herm:dev .
#
# Needs BuildKit (it sets TARGETARCH). The build context is the repository's root, cut down by
# .dockerignore to dist/ and docker/.

ARG BASE_IMAGE=debian:12-slim

# ---- unpack: the archive, verified before a byte of it is used -------------------------------
FROM ${BASE_IMAGE} AS unpack
ARG TARGETARCH
ARG HERM_VERSION=0.1.0
COPY dist/ /dist/
RUN set -eu; \
    case "${TARGETARCH:-}" in \
        amd64|arm64) ;; \
        *) echo "herm: no archive for architecture '${TARGETARCH:-}' (there are: amd64, arm64)" >&2; exit 1 ;; \
    esac; \
    cd /dist; \
    archive="herm-${HERM_VERSION}-${TARGETARCH}.tar.gz"; \
    grep "  ${archive}\$" SHA256SUMS > wanted || { echo "herm: SHA256SUMS does not list ${archive}" >&2; exit 1; }; \
    sha256sum --check --strict wanted; \
    mkdir /herm; \
    tar --extract --gzip --file "${archive}" --directory /herm

# ---- the image --------------------------------------------------------------------------------
FROM ${BASE_IMAGE}
RUN set -eu; \
    apt-get update; \
    apt-get install --yes --no-install-recommends ca-certificates; \
    apt-get clean; \
    rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/log/apt /var/log/dpkg.log
RUN --mount=type=bind,source=docker/users.sh,target=/tmp/users.sh sh /tmp/users.sh
COPY --chmod=0555 docker/main-wrapper.sh docker/entrypoint.sh /opt/hermes/docker/
COPY --from=unpack /herm/ /
# No agent is installed here, so its name answers too: herm knows the same commands.
RUN set -eu; \
    ln -s herm /usr/bin/hermes; \
    printf 'docker\n' > /opt/hermes/.install_method; \
    chmod -R a-w,a+rX /opt/hermes

# Without a command the container has no main program: it lives until it is stopped, and its gateways
# with it.
ENV HERMES_HOME=/opt/data \
    HERM_MAIN=none
VOLUME /opt/data
WORKDIR /opt/hermes
# Everything serves that should: asked of the supervisor, without a network, by any user.
HEALTHCHECK --interval=30s --timeout=15s --start-period=60s --retries=3 CMD ["/usr/bin/herm", "health"]
ENTRYPOINT ["/init"]
