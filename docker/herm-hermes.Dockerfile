# herm with the real Hermes Agent as its gateway command.
#
#   cargo xtask dist && docker build -f docker/herm-hermes.Dockerfile -t herm-hermes:dev .
#
# Needs BuildKit. Two optional build secrets, for a network with its own index or certificates;
# neither leaves a trace in the image:
#   --secret id=ca,src=bundle.pem        certificates that pip shall trust
#   --secret id=pip.conf,src=pip.conf    pip's settings (index, timeout)

ARG BASE_IMAGE=debian:12-slim

# ---- python: what both building and running the agent need ------------------------------------
FROM ${BASE_IMAGE} AS python
RUN set -eu; \
    apt-get update; \
    apt-get install --yes --no-install-recommends ca-certificates git python3 python3-venv; \
    apt-get clean; \
    rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/log/apt /var/log/dpkg.log

# ---- agent: the virtual environment, every version pinned -------------------------------------
FROM python AS agent
COPY docker/hermes-requirements.txt docker/hermes-constraints.txt /build/
RUN --mount=type=secret,id=ca --mount=type=secret,id=pip.conf --mount=type=cache,target=/root/.cache/pip \
    set -eu; \
    if [ -s /run/secrets/ca ]; then export PIP_CERT=/run/secrets/ca; fi; \
    if [ -s /run/secrets/pip.conf ]; then export PIP_CONFIG_FILE=/run/secrets/pip.conf; fi; \
    python3 -m venv /opt/hermes/.venv; \
    /opt/hermes/.venv/bin/pip install --disable-pip-version-check --no-input \
        --only-binary :all: --constraint /build/hermes-constraints.txt --requirement /build/hermes-requirements.txt; \
    chmod -R a-w,a+rX /opt/hermes

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

# ---- the image: the large, rarely changing layers first ---------------------------------------
FROM python
RUN --mount=type=bind,source=docker/users.sh,target=/tmp/users.sh sh /tmp/users.sh
# The parent is copied: a directory named as the destination would be made anew, writable.
COPY --from=agent /opt/hermes/ /opt/hermes/
COPY --chmod=0555 docker/main-wrapper.sh docker/entrypoint.sh /opt/hermes/docker/
# The agent looks for the stamp beside its code.
RUN set -eu; \
    printf 'docker\n' > /opt/hermes/.install_method; \
    for packages in /opt/hermes/.venv/lib/python3*/site-packages; do \
        ln -s /opt/hermes/.install_method "$packages/.install_method"; \
    done; \
    chmod a-w /opt/hermes /opt/hermes/docker /opt/hermes/.install_method
COPY --from=unpack /herm/ /

ENV HERMES_HOME=/opt/data \
    PATH=/opt/hermes/.venv/bin:/opt/data/.local/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONUNBUFFERED=1
VOLUME /opt/data
WORKDIR /opt/hermes
# Everything serves that should: asked of the supervisor, without a network, by any user.
HEALTHCHECK --interval=30s --timeout=15s --start-period=60s --retries=3 CMD ["/usr/bin/herm", "health"]
ENTRYPOINT ["/init"]
