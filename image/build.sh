#!/usr/bin/env bash
# Makes the container image of the static binary (binary.sh), without a Docker engine.
# build.sh DIR: leaves in DIR
#   dockseal-VERSION.tar       the image, for docker load, podman load, ctr images import, skopeo copy oci-archive:
#   dockseal-VERSION.cdx.json  what is in it (CycloneDX)
#   root.tar                   its one layer, which ../Dockerfile adds
# The last line on stdout is the image's digest. SOURCE_DATE_EPOCH and REVISION say when and of what it was made; the
# same sources, tools and those two make the same bytes, in whatever directory.
set -euo pipefail
export LC_ALL=C TZ=UTC
umask 022

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")
readonly here root
readonly authorities=/usr/share/ca-certificates/mozilla
readonly epoch=${SOURCE_DATE_EPOCH:-0} revision=${REVISION:-unknown}

say() { printf 'build.sh: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

[[ $# == 1 ]] || die "usage: build.sh DIR"
for program in jq tar sha256sum; do
  command -v "$program" >/dev/null || die "$program is not installed: tests/needs.sh image installs what is missing"
done
# Not /etc/ssl/certs: there this machine's own authorities are, too, and they are nobody else's.
compgen -G "$authorities/*.crt" >/dev/null || die "there are no authorities in $authorities: install ca-certificates"
[[ $epoch =~ ^[0-9]+$ ]] || die "SOURCE_DATE_EPOCH is $epoch: give seconds since 1970"

# The image's files, all root's.
files() { # DIR BINARY
  install -d -m 755 "$1"/{etc,etc/ssl,etc/ssl/certs,usr,usr/bin}
  install -m 755 "$2" "$1/usr/bin/dockseal"
  cat "$authorities"/*.crt >"$1/etc/ssl/certs/ca-certificates.crt"
  printf '%s\n' 'root:x:0:0:root:/:/sbin/nologin' 'nonroot:x:65532:65532:nonroot:/:/sbin/nologin' >"$1/etc/passwd"
  printf '%s\n' 'root:x:0:' 'nonroot:x:65532:' >"$1/etc/group"
}

# A tar of a directory's entries, which says nothing of this machine and this minute.
archive() { # DIR ENTRY...
  tar --create --directory "$1" --format=ustar --sort=name --mtime="@$epoch" --owner=0 --group=0 --numeric-owner "${@:2}"
}

digest() { sha256sum "$1" | cut -d ' ' -f 1; }

# Moves a file to where the layout has it, and prints its descriptor.
blob() { # LAYOUT FILE MEDIATYPE
  local hex size
  hex=$(digest "$2")
  size=$(stat -c %s "$2")
  mv "$2" "$1/blobs/sha256/$hex"
  jq -ncS --arg type "$3" --arg digest "sha256:$hex" --argjson size "$size" \
    '{mediaType: $type, digest: $digest, size: $size}'
}

# An OCI image layout, with the manifest.json by which older Docker loads it.
layout() { # DIR LAYER
  local oci=application/vnd.oci.image layer config manifest created
  created=$(date -u -d "@$epoch" +%FT%TZ)
  mkdir -p "$1/blobs/sha256"
  cp "$2" "$1/layer"
  layer=$(blob "$1" "$1/layer" "$oci.layer.v1.tar")
  jq -ncS --arg created "$created" --arg version "$version" --arg revision "$revision" --argjson layer "$layer" \
    -f "$here/config.jq" >"$1/config"
  config=$(blob "$1" "$1/config" "$oci.config.v1+json")
  jq -ncS --arg type "$oci.manifest.v1+json" --argjson config "$config" --argjson layer "$layer" \
    '{schemaVersion: 2, mediaType: $type, config: $config, layers: [$layer]}' >"$1/manifest"
  manifest=$(blob "$1" "$1/manifest" "$oci.manifest.v1+json")
  jq -ncS --arg type "$oci.index.v1+json" --arg version "$version" --argjson manifest "$manifest" \
    '{schemaVersion: 2, mediaType: $type, manifests: [$manifest + {
        platform: {os: "linux", architecture: "amd64"},
        annotations: {"io.containerd.image.name": "docker.io/library/dockseal:\($version)",
                      "org.opencontainers.image.ref.name": $version}}]}' >"$1/index.json"
  jq -ncS --arg tag "dockseal:$version" --argjson config "$config" --argjson layer "$layer" \
    'def path: "blobs/" + sub(":"; "/"); [{Config: ($config.digest | path), RepoTags: [$tag], Layers: [$layer.digest | path]}]' \
    >"$1/manifest.json"
  printf '%s' '{"imageLayoutVersion":"1.0.0"}' >"$1/oci-layout"
}

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' "$root/Cargo.toml" | head -n 1)
[[ -n $version ]] || die "Cargo.toml names no version"
program=$("$here/binary.sh")
mkdir -p "$1"
out=$(cd "$1" && pwd)
work=$(mktemp -d "$out/.building.XXXXXX")
trap 'rm -rf "$work"' EXIT

mkdir "$work/root" "$work/layout"
files "$work/root" "$program"
archive "$work/root" etc usr >"$work/root.tar"
layout "$work/layout" "$work/root.tar"
archive "$work/layout" blobs index.json manifest.json oci-layout >"$work/dockseal-$version.tar"
"$here/bill.sh" "$work/root.tar" "$(<"${program%/*}/target")" >"$work/dockseal-$version.cdx.json"
rm -f "$out"/dockseal-*.{tar,cdx.json}
mv "$work"/{dockseal-"$version".{tar,cdx.json},root.tar} "$out"
say "$out/dockseal-$version.tar: $(stat -c %s "$out/dockseal-$version.tar") bytes"
jq -r '.manifests[0].digest' "$work/layout/index.json"
