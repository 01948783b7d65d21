#!/usr/bin/env bash
# Others' crates, compiled once for all checkouts of this machine: cargo knows its own work wherever it is copied to.
# compiled.sh take           puts what was kept into target/, where there is nothing yet
# compiled.sh keep CARGO...  keeps what that command of cargo used, our own crate excepted, once per state of the crates
# It only saves time: where it cannot, cargo compiles what is missing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cache=${XDG_CACHE_HOME:-$HOME/.cache}/dockseal
built=${CARGO_TARGET_DIR:-target}/debug
key=$({ cat Cargo.lock Cargo.toml; rustc -vV; env | grep -E '^(RUSTFLAGS|CARGO_(BUILD|ENCODED|PROFILE)_)' || true; } | sha256sum | cut -c 1-16)
kept=$cache/compiled-$key
readonly cache built key kept

take() {
  [[ ! -d $built && -d $kept/debug ]] || return 0
  mkdir -p "$built.taken"
  cp --archive --reflink=auto "$kept/debug/." "$built.taken" && mv -T "$built.taken" "$built" || rm -rf "$built.taken"
}

# The marks in the names of what cargo made of others' crates: 16 hexadecimal digits each.
marks() {
  cargo "$@" --message-format=json 2>/dev/null |
    jq -r 'select(.package_id? // "path+" | startswith("path+") | not) | .filenames[]?, .out_dir? // empty' |
    grep -oE -- '-[0-9a-f]{16}' | sort -u
}

keep() {
  local made=$kept/made-by-$1
  [[ ! -e $made ]] && command -v jq >/dev/null || return 0
  find "$cache" -maxdepth 1 -name 'compiled-????????????????' ! -name "compiled-$key" -mtime +2 -exec rm -rf {} +
  mkdir -p "$kept/debug"
  marks "$@" >"$kept/marks"
  (cd "$built" && find .fingerprint build deps -mindepth 1 -maxdepth 1 | grep -F -f "$kept/marks" |
    xargs cp --archive --no-clobber --reflink=auto --parents --target-directory "$kept/debug")
  rm "$kept/marks"
  touch "$made" "$kept"
}

mkdir -p "$cache"
exec 9>"$cache/compiled.lock"
case $1 in
  take) flock --shared 9; take ;;
  keep) flock 9; keep "${@:2}" ;;
esac
