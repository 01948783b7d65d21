#!/usr/bin/env bash
# Finds Helm 4, or builds it from the module in go.mod, once per machine.
# The last line on stdout is its path; everything else goes to stderr. A helm on PATH is taken only where it is Helm 4.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly here

say() { printf 'build.sh: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

is_helm_4() { # PROGRAM
  [[ $("$1" version --template '{{.Version}}' 2>/dev/null) == v4.* ]]
}

if on_path=$(command -v helm) && is_helm_4 "$on_path"; then
  printf '%s\n' "$on_path"
  exit 0
fi

# The Go that is installed, never one that the go command downloads by itself.
export GOTOOLCHAIN=local GOWORK=off CGO_ENABLED=0 GOFLAGS='-mod=readonly -trimpath -buildvcs=false'
# The result is for this machine, whatever the caller cross-compiles for.
unset GOOS GOARCH

cd "$here"
needed=$(awk '$1 == "go" { print $2; exit }' go.mod)
get_go="install Go $needed or newer (https://go.dev/doc/install), or put Helm 4 on PATH"
command -v go >/dev/null || die "neither Helm 4 nor go is installed: $get_go"
command -v flock >/dev/null || die "flock is not installed: it is in the package util-linux"
found=$(cd / && go env GOVERSION) # from outside the module: an old Go refuses even this inside it
found=${found#go}
found=${found%% *}
[[ $(printf '%s\n' "$needed" "$found" | sort -V | head -n 1) == "$needed" ]] || die "Go $found is too old: $get_go"

version=$(awk '$1 == "require" && $2 == "helm.sh/helm/v4" { print $3 } $1 == "helm.sh/helm/v4" { print $2 }' go.mod)
[[ $version == v4.*.* ]] || die "go.mod names no version of helm.sh/helm/v4"

key=$({ cat go.mod go.sum build.sh; go version; } | sha256sum | cut -c 1-16)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/dockseal
done_dir=$cache/helm-$key
mkdir -p "$cache"

# One builder at a time; who waited finds the work done. The lock's file stays: removing it would race.
exec 9>"$done_dir.lock"
flock --nonblock 9 || { say "another run is building; waiting for it"; flock 9; }

if [[ ! -x $done_dir/helm ]]; then
  building=$done_dir.building
  rm -rf "$building" "$done_dir"
  mkdir "$building"
  say "building Helm $version with Go $found: a minute or two on two cores, once per machine"
  go build -ldflags "-s -w -X helm.sh/helm/v4/internal/version.version=$version" -o "$building/helm" \
    helm.sh/helm/v4/cmd/helm >&2 || die "failed to build Helm; its modules come through the Go module proxy (go env GOPROXY)"
  is_helm_4 "$building/helm" || die "what was built does not say that it is Helm 4"
  mv -T "$building" "$done_dir"
fi

printf '%s\n' "$done_dir/helm"
