#!/usr/bin/env bash
# Runs every test, as `cargo test` does and with its words, but several test binaries at a time: most of them wait for
# daemons more than they compute. The image, which takes one core for minutes, is made meanwhile.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf 'run.sh: %s\n' "$*" >&2; }

# As cargo's runner: the words and the exit code of a binary that was run; any other is run here.
if [[ ${1:-} == told ]]; then
  run=$RUN_DIRECTORY/$(basename "$2")
  [[ -e $run ]] || exec "${@:2}"
  until [[ -e $run.code ]]; do
    kill -0 "$RUN_POOL" || { say "who ran it is gone"; exit 1; }
    sleep 0.1
  done
  cat "$run.out"
  exit "$(cat "$run.code")"
fi

# One binary, to its end. What looks at the image waits for it.
one() { # BINARY
  local run code=0
  run=$RUN_DIRECTORY/$(basename "$1")
  case ${run##*/} in
    image-*) until [[ -e $RUN_DIRECTORY/image.code ]]; do sleep 0.5; done ;;
    cluster-*) export RUST_TEST_THREADS=$(($(nproc) + 1)) ;; # it waits for controllers and their clocks
  esac
  CARGO_MANIFEST_DIR=$PWD "$1" >"$run.out" 2>&1 </dev/null || code=$?
  echo "$code" >"$run.new" && mv "$run.new" "$run.code"
}
export -f one

# The test binaries, those first that take longest, and last the one that waits for the image.
binaries() {
  local all name
  all=$(cargo test --locked --no-run --message-format=json-render-diagnostics |
    jq -r 'select(.reason == "compiler-artifact" and .profile.test) | .executable // empty') || return
  { for name in hostbox cluster up docs cli; do grep "/$name-[0-9a-f]*$" <<<"$all" || true; done
    grep -v '/image-[0-9a-f]*$' <<<"$all"
    grep '/image-[0-9a-f]*$' <<<"$all" || true
  } | awk '!seen[$0]++'
}

# Nobody outlives this script.
end() {
  local job
  for job in $(jobs -p); do kill -- "-$job" 2>/dev/null || true; done
  rm -rf "$RUN_DIRECTORY"
}

RUN_DIRECTORY=$(mktemp -d)
export RUN_DIRECTORY
trap end EXIT
trap 'exit 130' INT TERM

image=$RUN_DIRECTORY/image
set -m # a group for each job, by which it is ended
(code=0; make --no-print-directory image >"$image.out" 2>&1 </dev/null || code=$?; echo "$code" >"$image.code") &
set +m

say "compiling; the image is made meanwhile"
binaries=$(binaries)
tests/compiled.sh keep test --locked --no-run || say "others' crates cannot be kept"

at_once=${TESTS_AT_ONCE:-$(($(nproc) + 1))}
say "running $(wc -l <<<"$binaries") test binaries, $at_once at a time"
for binary in $binaries; do : >"$RUN_DIRECTORY/$(basename "$binary")"; done
set -m
xargs --max-procs "$at_once" --delimiter '\n' --replace bash -c 'one "$1"' - {} <<<"$binaries" &
set +m
export RUN_POOL=$!

told=0
cargo test --locked --no-fail-fast --config "target.'cfg(all())'.runner = ['$PWD/tests/run.sh', 'told']" || told=$?

until [[ -e $image.code ]]; do sleep 0.5; done
if [[ $(<"$image.code") != 0 ]]; then
  cat "$image.out" >&2
  say "the image cannot be made"
  exit 1
fi
[[ $told == 0 ]] || exit "$told"
grep -qE '^test result: ok\. [1-9][0-9]* passed' "$RUN_DIRECTORY"/*.out || { say "no test ran"; exit 1; }
