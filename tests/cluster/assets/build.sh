#!/usr/bin/env bash
# Builds the Kubernetes binaries and etcd from the modules in go.mod, once per machine.
# build.sh [node]: the last line on stdout is the directory that holds them; everything else goes to stderr.
# A machine that has an API server sets KUBEBUILDER_ASSETS to the directory of its binaries, and nothing is built, unless a
# node is asked for and they lack what that needs.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly here
readonly server=(etcd kube-apiserver kubectl)
readonly node=(kube-controller-manager kube-scheduler kubelet)
readonly binaries=("${server[@]}" "${node[@]}")
case ${1:-} in
  node) wanted=("${binaries[@]}") ;;
  *) wanted=("${server[@]}") ;;
esac

say() { printf 'build.sh: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

complete() { # DIR BINARY...: are they there?
  local dir=$1 name
  shift
  for name; do [[ -x "$dir/$name" ]] || return 1; done
}

package_of() { # BINARY
  case $1 in
    etcd) echo go.etcd.io/etcd/server/v3 ;;
    *) echo "k8s.io/kubernetes/cmd/$1" ;;
  esac
}

if [[ -n ${KUBEBUILDER_ASSETS:-} ]]; then
  if complete "$KUBEBUILDER_ASSETS" "${wanted[@]}"; then
    say "using KUBEBUILDER_ASSETS"
    printf '%s\n' "$KUBEBUILDER_ASSETS"
    exit 0
  fi
  say "KUBEBUILDER_ASSETS lacks one of: ${wanted[*]}; building them instead"
fi

# The Go that is installed, never one that the go command downloads by itself.
export GOTOOLCHAIN=local GOWORK=off CGO_ENABLED=0 GOFLAGS='-mod=readonly -trimpath -buildvcs=false'
# The results are for this machine, whatever the caller cross-compiles for.
unset GOOS GOARCH

needed=$(awk '$1 == "go" { print $2; exit }' "$here/go.mod")
get_go="install Go $needed or newer (https://go.dev/doc/install), or set KUBEBUILDER_ASSETS to a directory with ${wanted[*]}"
command -v go >/dev/null || die "go is not installed: $get_go"
command -v flock >/dev/null || die "flock is not installed: it is in the package util-linux"
cd "$here"
found=$(cd / && go env GOVERSION) # from outside the module: an old Go refuses even this inside it
found=${found#go}
found=${found%% *}
[[ $(printf '%s\n' "$needed" "$found" | sort -V | head -n 1) == "$needed" ]] \
  || die "Go $found is too old: $get_go"

version=$(awk '$1 == "require" && $2 == "k8s.io/kubernetes" { print $3 } $1 == "k8s.io/kubernetes" { print $2 }' go.mod)
[[ $version == v*.*.* ]] || die "go.mod names no version of k8s.io/kubernetes"
IFS=. read -r major minor _ <<<"${version#v}"

key=$({ cat go.mod go.sum build.sh; go version; } | sha256sum | cut -c 1-16)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/dockseal
done_dir=$cache/kubernetes-$key
mkdir -p "$cache"

# One builder at a time; who waited finds the work done. The lock's file stays: removing it would race.
exec 9>"$done_dir.lock"
flock --nonblock 9 || { say "another run is building; waiting for it"; flock 9; }

if ! complete "$done_dir" "${binaries[@]}"; then
  # Without these the binaries call themselves v0.0.0-master+$Format:%H$, which clients choke on.
  flags="-s -w"
  for module in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    flags+=" -X $module.gitVersion=$version -X $module.gitMajor=$major -X $module.gitMinor=$minor -X $module.gitTreeState=clean"
  done

  building=$done_dir.building
  rm -rf "$building" "$done_dir"
  mkdir "$building"
  say "building Kubernetes $version with Go $found: four to ten minutes on two cores, once per machine"
  for name in "${binaries[@]}"; do
    started=$SECONDS
    # It inherits the lock: should it outlive a killed build.sh, the next run waits for it.
    go build -ldflags "$flags" -o "$building/$name" "$(package_of "$name")" >&2 \
      || die "failed to build $name; its modules come through the Go module proxy (go env GOPROXY)"
    say "built $name in $((SECONDS - started)) s"
  done
  [[ $("$building/kube-apiserver" --version) == "Kubernetes $version" ]] || die "kube-apiserver does not say $version"
  mv -T "$building" "$done_dir"
fi

printf '%s\n' "$done_dir"
