#!/usr/bin/env bash
# Builds the root of a Debian host with systemd and docker.io from the machine's own Debian mirror, once per machine.
# build.sh [trixie|bookworm]: the last line on stdout is the directory that holds it, which a box only reads (box.sh);
# everything else goes to stderr.
set -euo pipefail

readonly release=${1:-trixie}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly here
readonly keyring=/usr/share/keyrings/debian-archive-keyring.gpg

say() { printf 'build.sh: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

# What a Docker host has, and what tests look at it with.
packages=systemd,systemd-sysv,dbus,docker.io,procps,iproute2,busybox-static,strace
case $release in
  bookworm) ;; # its docker.io has the client in it
  trixie) packages+=,docker-cli,openssh-server,containernetworking-plugins ;; # the last for a node of Kubernetes
  *) die "no box of Debian $release" ;;
esac

# What a box cannot have, for it shares the machine's kernel and devices, and what would only take its time.
readonly masked=(
  systemd-{sysctl,modules-load,udevd,udev-trigger,pstore}.service systemd-udevd-{control,kernel}.socket
  console-getty.service getty.target apt-daily{,-upgrade}.timer dpkg-db-backup.timer fstrim.timer e2scrub_all.timer
  sys-kernel-{debug,tracing,config}.mount dev-{hugepages,mqueue}.mount sys-fs-fuse-connections.mount
  proc-sys-fs-binfmt_misc.automount
)

# A Debian mirror that apt knows; where it knows none, mmdebstrap's own.
mirror() {
  apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(REPO_URI)' 'Created-By: Packages' 2>/dev/null \
    | awk -F '|' '($1 == "Debian" && $2 == "Debian") || ($1 == "" && $3 ~ /\/debian\/?$/) { print $3; exit }'
}

# How this machine gets at it; mmdebstrap leaves the machine's apt.conf aside.
proxies() { apt-config dump 2>/dev/null | grep -iE '^Acquire::(https?|ftp)::' || true; }

debian() { # DIR
  local mirror
  mirror=$(mirror)
  proxies >"$1.apt"
  # In a mount namespace of its own: killed halfway, it leaves no /proc and /dev in the tree.
  unshare --mount --propagation private \
    mmdebstrap --quiet --mode=root --variant=minbase --include="$packages" --keyring="$keyring" \
    --aptopt="$1.apt" --aptopt='Acquire::Retries "3"' --aptopt='APT::Install-Recommends "false"' \
    --dpkgopt=force-unsafe-io --dpkgopt=path-exclude=/usr/share/{doc,man,locale,info,bash-completion}'/*' \
    "$release" "$1" ${mirror:+"$mirror"} >"$1.log" 2>&1 </dev/null \
    || { tail -n 20 "$1.log" >&2; die "failed to install Debian $release"; }
}

# What a box's boot does not write itself.
settings() { # DIR
  local unit
  rm -rf "$1"/var/{lib/apt/lists,cache/apt,cache/debconf,log}/* "$1"/etc/apt/sources.list*
  rm -f "$1"/etc/{apt/apt.conf.d,dpkg/dpkg.cfg.d}/99mmdebstrap
  for unit in "${masked[@]}"; do ln -sfn /dev/null "$1/etc/systemd/system/$unit"; done
  rm -f "$1"/etc/systemd/system/*/ssh{,d}.service # who logs in starts it
  mkdir -p "$1/var/log/journal" "$1/etc/docker"
  # No bridge: the machine's kernel may have no iptables.
  printf '%s\n' '{' '  "storage-driver": "vfs",' '  "bridge": "none",' '  "iptables": false,' '  "ip6tables": false' '}' \
    >"$1/etc/docker/daemon.json"
  echo hostbox >"$1/etc/hostname"
  printf '127.0.0.1 localhost\n127.0.1.1 hostbox\n' >"$1/etc/hosts"
  : >"$1/etc/fstab"
  rm -f "$1/etc/resolv.conf"
  chmod 755 "$1"
}

# A container image for `docker import`, made of the box's own busybox.
image() { # DIR
  local made=$1/tmp/image
  mkdir -p "$made/bin" "$1/usr/local/share/hostbox"
  cp "$1/bin/busybox" "$made/bin/"
  ln -s busybox "$made/bin/sh"
  ln -s busybox "$made/bin/sleep"
  ln -s busybox "$made/bin/cat"
  tar --owner=0 --group=0 -C "$made" -cf "$1/usr/local/share/hostbox/busybox.tar" .
  rm -rf "$made"
}

# That it is named says that it is complete.
key=$({ echo "$release"; dpkg --print-architecture; cat "$here/build.sh"; } | sha256sum | cut -c 1-16)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/dockseal
done_dir=$cache/hostbox-$release-$key
mkdir -p "$cache"
command -v flock >/dev/null || die "flock is not installed: it is in the package util-linux"

# One builder at a time; who waited finds the work done. The lock's file stays: removing it would race.
exec 9>"$done_dir.lock"
flock --nonblock 9 || { say "another run is building; waiting for it"; flock 9; }

if ! [[ -d $done_dir ]]; then
  [[ $(id -u) == 0 ]] || die "Debian's packages are to be installed into a root of its own: run this as root"
  command -v mmdebstrap >/dev/null || die "mmdebstrap is not installed: tests/needs.sh hostbox"
  [[ -r $keyring ]] || die "Debian's keys are not installed: they are in the package debian-archive-keyring"
  started=$SECONDS
  say "building a Debian $release host with Docker: half a minute, once per machine"
  building=$done_dir.building
  rm -rf --one-file-system "$building" "$building".*
  # It inherits the lock: should it outlive a killed build.sh, the next run waits for it.
  debian "$building"
  settings "$building"
  image "$building"
  sync -f "$building"
  rm -f "$building".*
  mv -T "$building" "$done_dir"
  say "built it in $((SECONDS - started)) s"
fi

printf '%s\n' "$done_dir"
