#!/usr/bin/env bash
# needs.sh rust|go|tools|hostbox|image|promtool: checks what this machine has, and installs missing Debian packages if it may.
set -euo pipefail

fail() {
  echo "needs.sh: $1" >&2
  exit 1
}

# at_least HAVE WANT: compares versions.
at_least() {
  [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]
}

need_rust() {
  command -v cargo >/dev/null || fail "Rust is not installed: install 1.95 or newer from rustup.rs, then run this again"
  local have
  have=$(rustc --version | awk '{print $2}')
  at_least "$have" 1.95.0 || fail "Rust is $have, but 1.95 or newer is needed: rustup update stable"
  command -v cc >/dev/null || install_packages gcc libc6-dev
}

need_go() {
  [ -x "${KUBEBUILDER_ASSETS:-}/kubelet" ] && return
  command -v go >/dev/null || fail "Go is not installed; it builds Kubernetes for the tests: install 1.26 from go.dev/dl, or set KUBEBUILDER_ASSETS to a directory with etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kubelet and kubectl"
}

# The program of each package says whether it is there.
need_tools() {
  local missing=()
  command -v openssl >/dev/null || missing+=(openssl)
  command -v strace >/dev/null || missing+=(strace)
  command -v dockerd >/dev/null || [ -x /usr/sbin/dockerd ] || missing+=(docker.io)
  command -v docker >/dev/null || missing+=(docker.io)
  [ ${#missing[@]} -eq 0 ] || install_packages "${missing[@]}"
}

# The programs that build and boot a Docker host in a box.
need_hostbox() {
  local missing=()
  command -v mmdebstrap >/dev/null || missing+=(mmdebstrap)
  [ -r /usr/share/keyrings/debian-archive-keyring.gpg ] || missing+=(debian-archive-keyring)
  command -v ip >/dev/null || [ -x /sbin/ip ] || missing+=(iproute2)
  command -v unshare >/dev/null && command -v nsenter >/dev/null && command -v flock >/dev/null || missing+=(util-linux)
  command -v mount >/dev/null || missing+=(mount)
  [ ${#missing[@]} -eq 0 ] || install_packages "${missing[@]}"
}

# The programs that build the static binary and its image.
need_image() {
  local missing=() sysroot
  command -v musl-gcc >/dev/null || missing+=(musl-tools)
  command -v jq >/dev/null || missing+=(jq)
  command -v flock >/dev/null || missing+=(util-linux)
  [ -d /usr/share/ca-certificates/mozilla ] || missing+=(ca-certificates)
  [ ${#missing[@]} -eq 0 ] || install_packages "${missing[@]}"
  sysroot=$(rustc --print sysroot)
  [ -d "$sysroot/lib/rustlib/x86_64-unknown-linux-musl" ] && return
  # Without it image/binary.sh links glibc instead.
  rustup --quiet target add x86_64-unknown-linux-musl >&2 || echo "needs.sh: Rust's library for musl cannot be added" >&2
}

# Prints the path of promtool. Only promtool is taken from Debian's package prometheus: no server is installed or started.
need_promtool() {
  local cached="${XDG_CACHE_HOME:-$HOME/.cache}/dockseal/promtool" work sudo=""
  command -v promtool && return
  if [ ! -x "$cached" ]; then
    command -v apt-get >/dev/null || fail "promtool is not installed: install Prometheus (Debian's package is prometheus)"
    echo "needs.sh: fetching promtool" >&2
    work=$(mktemp -d)
    if ! (cd "$work" && apt-get -qq -o APT::Sandbox::User=root download prometheus >&2); then
      [ "$(id -u)" = 0 ] || sudo="sudo -n"
      DEBIAN_FRONTEND=noninteractive $sudo apt-get -qq update >&2 || true
      (cd "$work" && apt-get -qq -o APT::Sandbox::User=root download prometheus >&2) || fail "promtool is not installed: sudo apt-get install prometheus"
    fi
    dpkg-deb --fsys-tarfile "$work"/prometheus_*.deb | tar -x -C "$work" ./usr/bin/promtool
    mkdir -p "$(dirname "$cached")"
    mv "$work/usr/bin/promtool" "$cached.$$" && mv "$cached.$$" "$cached" # several may come at once
    rm -rf "$work"
  fi
  printf '%s\n' "$cached"
}

install_packages() {
  local sudo=""
  if [ "$(id -u)" != 0 ]; then
    sudo="sudo -n"
    $sudo true 2>/dev/null || fail "missing packages: sudo apt-get install $*"
  fi
  command -v apt-get >/dev/null || fail "missing programs: install the packages $* (these are Debian's names)"
  echo "needs.sh: installing $*" >&2
  # Services must not start: the tests run daemons of their own.
  DEBIAN_FRONTEND=noninteractive $sudo apt-get -qq update >&2
  DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 $sudo apt-get -qq install -y --no-install-recommends "$@" >&2 </dev/null
}

"need_$1"
