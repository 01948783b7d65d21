#!/usr/bin/env bash
# Others' crates, compiled once for all checkouts of this machine: cargo knows its own work wherever it is copied to.
# compiled.sh take           puts what was kept into target/, where there is nothing yet
# compiled.sh keep CARGO...  keeps what that command of cargo used, our own crate excepted, once per state of the crates
# It only saves time: cargo looks at each piece, and compiles what is missing or does not fit.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cache=${XDG_CACHE_HOME:-$HOME/.cache}/dockseal
built=${CARGO_TARGET_DIR:-target}/debug
key=$({ cat Cargo.lock Cargo.toml; rustc -vV; env | grep -E '^(RUSTFLAGS|CARGO_(BUILD|ENCODED|PROFILE)_)' || true; } | sha256sum | cut -c 1-16)
kept=$cache/compiled-$key
readonly cache built key kept

# What was kept, the latest first: 2 GB each.
all() { find "$cache" -maxdepth 1 -name 'compiled-????????????????' -printf '%T@ %p\n' | sort -rn | cut -d ' ' -f 2-; }

take() {
  local from=$kept
  [[ ! -d $built ]] || return 0
  [[ -d $from ]] || from=$(all | head -n 1) # most of another state fits as well
  [[ -d $from/debug ]] || return 0
  mkdir -p "$built.taken"
  cp --archive --reflink=auto "$from/debug/." "$built.taken" && mv -T "$built.taken" "$built" || rm -rf "$built.taken"
}

# The marks in the names of what cargo made of others' crates: 16 hexadecimal digits each.
marks() {
  cargo "$1" --message-format=json "${@:2}" 2>/dev/null |
    jq -r 'select(.package_id? // "path+" | startswith("path+") | not) | .filenames[]?, .out_dir? // empty' |
    grep -oE -- '-[0-9a-f]{16}' | sort -u
}

# All of it or nothing: a piece cut short would pass for whole.
keep() {
  local next=$kept.next
  [[ ! -e $kept/made-by-$1 ]] && command -v jq >/dev/null || return 0
  rm -rf "$next"
  mkdir -p "$next/debug"
  [[ ! -d $kept ]] || cp --archive --link "$kept/." "$next"
  marks "$@" >"$next/marks"
  (cd "$built" && find .fingerprint build deps -mindepth 1 -maxdepth 1 | grep -F -f "$next/marks" |
    xargs cp --archive --no-clobber --reflink=auto --parents --target-directory "$next/debug")
  mv "$next/marks" "$next/made-by-$1"
  rm -rf "$kept"
  mv -T "$next" "$kept"
  all | tail -n +3 | xargs -r rm -rf # two states are enough
}

mkdir -p "$cache"
exec 9>"$cache/compiled.lock"
case $1 in
  take) flock --shared 9; take ;;
  keep) flock 9; keep "${@:2}" ;;
esac
