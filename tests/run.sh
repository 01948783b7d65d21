#!/usr/bin/env bash
# Runs every test: several `cargo test --test NAME` at a time, since most of them wait for daemons more than they compute.
# The output of each is printed when it ends. The image takes one core for minutes: it is made meanwhile.
# This is not cargo-nextest: it gives each test a process of its own, which would start an API server or boot a Docker
# host for each test instead of once for all tests of a file, and it takes minutes to build.
# TESTS_AT_ONCE=1 runs them one after the other.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf 'run.sh: %s\n' "$*" >&2; }

# The targets of cargo, those first that take longest, and last the one that waits for the image.
targets() {
  { printf '%s\n' hostbox cluster up docs cli lib
    cargo metadata --locked --no-deps --format-version 1 |
      jq -r '.packages[0].targets[] | select(.kind == ["test"]) | .name' | grep -v '^image$'
    echo image
  } | awk '!seen[$0]++'
}

# Runs the tests of one target, and prints what they said.
one() { # TARGET
  local out=$RUN_DIRECTORY/$1.out code=0 which=(--test "$1")
  case $1 in
    lib) which=(--lib) ;;
    cluster) export RUST_TEST_THREADS=$(($(nproc) + 1)) ;; # it waits for controllers and their timers
    image) until [[ -e $RUN_DIRECTORY/made.code ]]; do sleep 0.5; done ;;
  esac
  cargo test --locked "${which[@]}" >"$out" 2>&1 </dev/null || code=$?
  [[ $code == 0 ]] || echo "$1" >>"$RUN_DIRECTORY/failed"
  flock "$RUN_DIRECTORY" cat "$out"
}
export -f one

# No process that this script started outlives it.
end() {
  local job
  for job in $(jobs -p); do kill -- "-$job" 2>/dev/null || true; done
  rm -rf "$RUN_DIRECTORY"
}

RUN_DIRECTORY=$(mktemp -d)
export RUN_DIRECTORY
trap end EXIT
trap 'exit 130' INT TERM

made=$RUN_DIRECTORY/made
set -m # a process group for each job, by which it is ended
(code=0; make --no-print-directory image >"$made.log" 2>&1 </dev/null || code=$?; echo "$code" >"$made.code") &
set +m

say "compiling; the image is made meanwhile"
cargo test --locked --no-run
targets=$(targets)

at_once=${TESTS_AT_ONCE:-$(($(nproc) + 1))}
say "running the tests of $(wc -l <<<"$targets") targets, $at_once at a time"
set -m
xargs --max-procs "$at_once" --delimiter '\n' --replace bash -c 'one "$1"' - {} <<<"$targets" &
set +m
wait $!

until [[ -e $made.code ]]; do sleep 0.5; done
if [[ $(<"$made.code") != 0 ]]; then
  cat "$made.log" >&2
  say "the image cannot be made"
  exit 1
fi
if [[ -e $RUN_DIRECTORY/failed ]]; then
  say "failed: $(paste -sd ' ' "$RUN_DIRECTORY/failed")"
  exit 1
fi
grep -qE '^test result: ok\. [1-9][0-9]* passed' "$RUN_DIRECTORY"/*.out || { say "no test ran"; exit 1; }
say "all passed"
