#!/usr/bin/env bash
# Prints the bill of what is in the image (CycloneDX): facts of cargo's, of the compiler's and of the machine's packages.
# bill.sh LAYER TARGET: the image's layer, and for what its binary was built. SOURCE_DATE_EPOCH says when.
set -euo pipefail
export LC_ALL=C TZ=UTC

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly here layer=$1 target=$2

package() { dpkg-query -W -f '${Version}' "$1" 2>/dev/null || echo unknown; }

# The C library, which is linked in: Rust brings its own musl, glibc is the machine's.
libc() {
  local musl
  case $target in
    *-musl)
      musl=$(rustc --print sysroot)/lib/rustlib/$target/lib/self-contained/libc.a
      musl=$(grep -aoE '\b1\.2\.[0-9]+\b' "$musl" | head -n 1)
      jq -nc --arg version "${musl:-unknown}" \
        '{name: "musl", version: $version, purl: "pkg:generic/musl@\($version)", license: "MIT"}' ;;
    *)
      jq -nc --arg version "$(package libc6-dev)" \
        '{name: "glibc", version: $version, purl: "pkg:deb/debian/glibc@\($version)", license: "LGPL-2.1-or-later"}' ;;
  esac
}

digest=$(sha256sum "$layer" | cut -d ' ' -f 1)
cd "$here/.."
# What is linked, and no more: metadata has what only tests and build scripts use, too.
tree=$(cargo tree --quiet --locked --edges normal,no-proc-macro --target "$target" --prefix none --format '{p}' \
  | awk '{ print $1 "@" substr($2, 2) }' | sort -u)
cargo metadata --quiet --locked --format-version 1 --filter-platform "$target" \
  | jq -S --arg linked "$tree" --arg created "$(date -u -d "@${SOURCE_DATE_EPOCH:-0}" +%FT%TZ)" --arg layer "$digest" \
      --arg rust "$(rustc --version | cut -d ' ' -f 2)" --argjson libc "$(libc)" \
      --arg roots "$(package ca-certificates)" --rawfile lock Cargo.lock -f "$here/sbom.jq"
