# The image's configuration (OCI image specification, config.md). ../Dockerfile says the same; a test compares them.
{
  created: $created,
  os: "linux",
  architecture: "amd64",
  config: {
    User: "65532:65532",
    Entrypoint: ["/usr/bin/dockseal"],
    Env: ["PATH=/usr/bin"],
    WorkingDir: "/",
    Labels: {
      "org.opencontainers.image.title": "dockseal",
      "org.opencontainers.image.description": "Mutual TLS for Docker hosts, run by Kubernetes",
      "org.opencontainers.image.licenses": "Apache-2.0",
      "org.opencontainers.image.version": $version,
      "org.opencontainers.image.revision": $revision,
      "org.opencontainers.image.created": $created
    }
  },
  rootfs: {type: "layers", diff_ids: [$layer.digest]},
  history: [{created: $created, created_by: "image/build.sh"}],
}
