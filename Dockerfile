# One image for every role: the program, the certificates that it checks servers with, and nothing else of ours.
#
#   docker build -t stampede .
#
# The stage `build` compiles it. With --build-arg BINARY=prebuilt the context holds a program called `stampede` instead, which
# was built for the base image's system; the Swarm test does that, with base images of its own.

ARG RUST_IMAGE=rust:1.95-slim-bookworm
ARG BASE_IMAGE=debian:bookworm-slim
ARG BINARY=build

FROM ${RUST_IMAGE} AS build
WORKDIR /src
COPY . .
# What was fetched and compiled stays in the builder's cache, so that the next version compiles only what changed.
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked --package stampede --bin stampede && \
    mkdir -p /out/data && \
    cp target/release/stampede /out/stampede && strip /out/stampede

FROM ${RUST_IMAGE} AS prebuilt
COPY stampede /out/stampede
WORKDIR /out/data

FROM ${BINARY} AS binary

FROM ${BASE_IMAGE} AS runtime
LABEL org.opencontainers.image.title="Stampede" \
      org.opencontainers.image.description="A flash-sale engine" \
      org.opencontainers.image.source="https://github.com/stampede-sale/stampede" \
      org.opencontainers.image.licenses="MIT"
COPY --from=binary /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=binary /out/stampede /usr/local/bin/stampede
# An archive in SQLite needs a folder that this user may write to; a volume that is new takes over its owner.
COPY --from=binary --chown=10001:10001 /out/data /var/lib/stampede
USER 10001:10001
WORKDIR /var/lib/stampede
# The container's own network is the fence of the admin listener: publish 4000, never 4009.
ENV STAMPEDE_ADMIN_LISTEN=0.0.0.0:4009 \
    STAMPEDE_LOG_FORMAT=json
EXPOSE 4000 4009
# It handles signals itself and starts no other program, so it needs no init above it.
STOPSIGNAL SIGTERM
# Every role has the admin listener. An api is better asked by `stampede health --api`, as the stacks do.
HEALTHCHECK --interval=5s --timeout=6s --start-period=60s --retries=3 CMD ["stampede", "health"]
ENTRYPOINT ["stampede"]
CMD ["--help"]
