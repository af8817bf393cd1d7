# camshaft in a container: docs/container.md. Keeps to what buildah 1.28 understands, so that CI can really build it.
#
#   make image                                  with podman, bases made from Debian's packages if there is no registry
#   docker build -t camshaft .                  anywhere else
#   … --build-arg DRIVER_SUITE=sid              a newer iHD, for GPUs that trixie's does not know

FROM docker.io/library/rust:1.95-trixie AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends \
        make gcc libc6-dev pkg-config clang libclang-dev \
        libavcodec-dev libavformat-dev libavutil-dev libavfilter-dev libswscale-dev libva-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY Cargo.toml Cargo.lock Makefile ./
COPY benches benches
COPY dashboard dashboard
COPY clients clients
COPY engine engine
COPY shim shim
COPY src src
COPY deploy/camshaft.example.yaml deploy/camshaft.example.yaml
COPY tests/fuzz tests/fuzz
COPY tests/softva tests/softva
# The same paths and times in every build: what is left to differ is the archive's state of the day.
ARG SOURCE_DATE_EPOCH=0
ENV CARGO_TARGET_DIR=/target RUSTFLAGS="--remap-path-prefix=/usr/local/cargo=/cargo --remap-path-prefix=/src=/camshaft"
RUN --mount=type=cache,target=/target \
    cargo build --locked --release --package camshaft --package camshaft-engine \
    && RUSTFLAGS="" make shim \
    && install -D --strip --target-directory=/out/usr/bin /target/release/camshaft /target/release/camshaft-engine \
    && install -D --target-directory=/out/usr/lib/camshaft/stand-in/bin \
        "/target/$(uname -m)-unknown-linux-gnu/shim/ffmpeg" "/target/$(uname -m)-unknown-linux-gnu/shim/ffprobe"

FROM docker.io/library/debian:trixie-slim
ARG DRIVER_SUITE=trixie
# Copied, not mounted: older buildahs look at no mount to see whether a layer has changed.
COPY deploy/image/packages.sh /usr/lib/camshaft/packages.sh
RUN sh /usr/lib/camshaft/packages.sh "$DRIVER_SUITE"
COPY --from=build /out/ /
COPY deploy/image/camshaft.yaml /etc/camshaft/camshaft.yaml

# A container's loopback is reached by nobody; who may reach its other addresses is the network's business.
ENV CAMSHAFT_SERVER_HTTP=0.0.0.0:8080 \
    CAMSHAFT_SERVER_ADMIN=0.0.0.0:8081 \
    CAMSHAFT_SERVER_RTSP=0.0.0.0:8554
EXPOSE 8080 8081 8554
USER 65532:65532
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 CMD ["camshaft", "live"]
LABEL org.opencontainers.image.title="camshaft" \
      org.opencontainers.image.description="Pulls each camera once, decodes once on the GPU, serves everyone" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.base.name="docker.io/library/debian:trixie-slim"
ENTRYPOINT ["camshaft"]
CMD ["serve", "--config", "/etc/camshaft/camshaft.yaml"]
