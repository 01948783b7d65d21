#!/usr/bin/env bash
# Builds the static binary, once per state of the sources. The last line on stdout is its path; the rest goes to stderr.
# Beside it lies a file `target`, which says for what it was built.
# The same sources and tools make the same bytes, in whatever directory.
set -euo pipefail
export LC_ALL=C
umask 022

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly root
readonly cache=${XDG_CACHE_HOME:-$HOME/.cache}/dockseal

say() { printf 'binary.sh: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

for program in cargo flock sha256sum; do
  command -v "$program" >/dev/null || die "$program is not installed: tests/needs.sh image installs what is missing"
done

# musl where Rust has it; else glibc, linked statically: larger, and as good at names.
if [[ -d $(rustc --print sysroot)/lib/rustlib/x86_64-unknown-linux-musl ]] && command -v musl-gcc >/dev/null; then
  target=${IMAGE_TARGET:-x86_64-unknown-linux-musl}
else
  target=x86_64-unknown-linux-gnu
  say "Rust has no library for x86_64-unknown-linux-musl: glibc is linked in"
fi
readonly target

# What the binary comes from, as one line.
sources() {
  cd "$root"
  { find src -type f -print0 | sort -z | xargs -0 sha256sum
    sha256sum Cargo.toml Cargo.lock image/binary.sh
    rustc -vV
    echo "$target"
    { musl-gcc --version 2>/dev/null || true; } | head -n 1
    dpkg-query -W musl-dev 2>/dev/null || true
  } | sha256sum | cut -c 1-16
}

# Paths of this machine do not belong into the binary: they differ elsewhere, and say who built it. Our own are relative
# already. These flags are the same for every checkout, so that what cargo made for one serves the others.
flags() {
  local cargo_home=${CARGO_HOME:-$HOME/.cargo} directory
  printf -- '--remap-path-prefix=%s\n' "$cache/image-target=/target"
  for directory in "$cargo_home"/registry/src/*/; do printf -- '--remap-path-prefix=%s\n' "${directory%/}=/crates"; done
  printf -- '--remap-path-prefix=%s\n' \
    "$(rustc --print sysroot)/lib/rustlib/src/rust=/rustc/$(rustc -vV | sed -n 's/^commit-hash: //p')"
}

compile() { # FILE
  local rust c compiler=()
  unset RUSTFLAGS CARGO_BUILD_RUSTFLAGS CARGO_BUILD_TARGET CARGO_PROFILE_RELEASE_{LTO,OPT_LEVEL,DEBUG,STRIP,PANIC} CFLAGS
  cargo fetch --quiet --locked --manifest-path "$root/Cargo.toml" --target "$target" >&2 # flags() looks where it went
  rust=$(flags)
  c=${rust//--remap-path-prefix=/-ffile-prefix-map=}
  case $target in
    *-musl) compiler=(CC_x86_64_unknown_linux_musl=musl-gcc) ;;
    *) rust+=$'\n-Ctarget-feature=+crt-static' ;;
  esac
  # Cargo would take another checkout's for ours where ours is older.
  cargo clean --quiet --release --target "$target" --package dockseal --manifest-path "$root/Cargo.toml" \
    --target-dir "$cache/image-target" >&2
  env "CARGO_ENCODED_RUSTFLAGS=${rust//$'\n'/$'\x1f'}" "CFLAGS_${target//-/_}=${c//$'\n'/ }" "${compiler[@]}" \
    CARGO_INCREMENTAL=0 "CARGO_TARGET_DIR=$cache/image-target" \
    cargo build --locked --release --target "$target" --bin dockseal --manifest-path "$root/Cargo.toml" >&2
  cp "$cache/image-target/$target/release/dockseal" "$1"
}

key=$(sources)
made=$cache/image-$key

if [[ ! -x $made/dockseal ]]; then
  mkdir -p "$cache"
  # One builder at a time, since they share cargo's directory; who waited finds the work done.
  exec 9>"$cache/image.lock"
  flock --nonblock 9 || { say "another run is building; waiting for it"; flock 9; }
fi

if [[ ! -x $made/dockseal ]]; then
  say "building the static binary: four minutes on two cores, once; two after a change"
  find "$cache" -maxdepth 1 -name 'image-????????????????' -mtime +2 -exec rm -rf {} +
  rm -rf "$made" "$cache"/image-*.building
  mkdir "$made.building"
  echo "$target" >"$made.building/target"
  compile "$made.building/dockseal" || die "failed to build it; cargo said why above"
  [[ $(sources) == "$key" ]] || die "the sources changed while they were built: run this again"
  mv -T "$made.building" "$made"
fi

printf '%s\n' "$made/dockseal"
