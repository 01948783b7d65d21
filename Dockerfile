# The image that `make image` makes, made of the same files by a Docker engine, for those who build with one:
#   make image
#   docker build -f Dockerfile --build-arg VERSION=0.1.0 -t dockseal:0.1.0 target/image
# root.tar is the one layer, owners and modes included: the static binary, CA roots, passwd and group.
# Layers and times in it are the engine's own, so that its digest is another; what runs is the same (tests/image).
FROM scratch
ADD root.tar /
ARG VERSION=unknown
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="dockseal" \
      org.opencontainers.image.description="Mutual TLS for Docker hosts, run by Kubernetes" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.created="$CREATED"
ENV PATH=/usr/bin
WORKDIR /
# What needs more than this user says so itself: in the chart, the companion's securityContext.
USER 65532:65532
ENTRYPOINT ["/usr/bin/dockseal"]
