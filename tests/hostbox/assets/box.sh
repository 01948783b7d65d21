#!/usr/bin/env bash
# One box: a Docker host with a kernel's namespaces for a machine. Run as root.
#   box.sh hold TREE FIRST   makes a box of TREE, says its number, and takes it away when stdin ends
#   box.sh start NUMBER      boots it; runs until it is switched off
# Its directory, number N: /run/dockseal-hostbox/N, with root/ (its file system), run/ (its /run), init.pid, console.log.
# Its addresses: 10.213.N.1 outside, 10.213.N.2 inside.
set -euo pipefail

readonly all=/run/dockseal-hostbox
readonly boxes=254

say() { printf 'box.sh: %s\n' "$*" >&2; }

names() { # NUMBER
  number=$1
  dir=$all/$1
  netns=dockseal-$1
  cgroup=$(cgroup2)/dockseal-hostbox-$1
}

# Where cgroup2 is: all of /sys/fs/cgroup, or a corner of it where the controllers are on cgroup 1.
cgroup2() {
  local mounted
  mounted=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/self/mounts)
  [[ -n $mounted ]] || { say "this machine has no cgroup2"; return 1; }
  echo "$mounted"
}

up() { # TREE
  local part
  mkdir -p "$dir"
  mount -t tmpfs -o mode=755 dockseal-hostbox "$dir"
  mkdir -p "$dir"/{root,run,upper,work}
  for part in "$1"/*; do [[ $part == */usr ]] || cp -a "$part" "$dir/root/"; done
  # Only /usr is an overlay: on one, a file is another once it is written, and who watches it hears nothing more.
  # xino: its files are all of one device, as on any other file system.
  mkdir "$dir/root/usr"
  chmod 755 "$dir/upper" "$dir/root/usr"
  mount -t overlay -o "lowerdir=$1/usr,upperdir=$dir/upper,workdir=$dir/work,xino=on" dockseal-hostbox "$dir/root/usr" \
    || cp -a "$1/usr/." "$dir/root/usr/"
  tr -d - </proc/sys/kernel/random/uuid >"$dir/root/etc/machine-id"
  mkdir "$cgroup"
  network
}

network() {
  flock "$all/netns.lock" ip netns add "$netns" # two at once would both set up /run/netns
  ip link add "$netns" type veth peer name eth0 netns "$netns"
  ip addr add "10.213.$number.1/30" dev "$netns"
  ip link set "$netns" up
  ip -n "$netns" addr add "10.213.$number.2/30" dev eth0
  ip -n "$netns" link set lo up
  ip -n "$netns" link set eth0 up
  ip -n "$netns" route add default via "10.213.$number.1"
  ip netns exec "$netns" sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward' # inside it cannot be written; pods need it
}

# Takes away whatever there is of it, from wherever it was left.
down() {
  local try
  for try in {1..50}; do
    [[ ! -e $cgroup ]] && break
    echo 1 >"$cgroup/cgroup.kill" || true
    find "$cgroup" -depth -type d -exec rmdir {} + 2>/dev/null && break
    sleep 0.1
  done
  ip link del "$netns" 2>/dev/null || true # its other end is deleted with it
  ip netns del "$netns" 2>/dev/null || true
  find /sys/fs/cgroup/*/"${cgroup##*/}" -depth -type d -exec rmdir {} + 2>/dev/null || true # of pods, on cgroup 1
  while mountpoint -q "$dir" 2>/dev/null; do
    umount -R "$dir" 2>/dev/null || umount -R -l "$dir" || break
  done
  [[ ! -e $dir ]] || rmdir "$dir"
}

# The lowest free number from FIRST on; its lock is ours until we end.
choose() { # FIRST
  local i
  mkdir -p -m 700 "$all"
  for ((i = 0; i < boxes; i++)); do
    names $((($1 + i) % boxes + 1))
    exec 9>"$dir.lock"
    flock --nonblock 9 || continue
    down || continue # a box whose guardian was killed
    [[ -n $(ip -o addr show to "10.213.$number.0/24") ]] || return 0
  done
  say "no free number for a box"
  return 1
}

# Its stdin ends when the test process drops the box, or dies of whatever. Anything but "box …" says why there is none.
hold() { # TREE FIRST
  local made
  trap '' INT TERM HUP PIPE
  choose "$2"
  exec 2>"$dir.log"
  # Not as a condition: bash would then go on after an error in it.
  set +e
  (set -e; up "$1")
  made=$?
  set -e
  if [[ $made == 0 ]]; then
    echo "box $number $cgroup"
    exec >/dev/null
    read -r _ || true
  else
    tail -n 5 "$dir.log" | tr '\n' ' '
  fi
  down
}

# The box's pid 1 becomes a child of this process, which ends with it, and it with this process.
start() {
  find "$cgroup" -mindepth 1 -depth -type d -exec rmdir {} +
  ! mountpoint -q "$dir/run" || umount -R "$dir/run" # a machine's /run does not outlive it
  mount -t tmpfs -o mode=755,nosuid,nodev dockseal-hostbox "$dir/run"
  cat /proc/sys/kernel/random/uuid >"$dir/boot_id"
  rm -f "$dir/init.pid"
  echo $$ >"$cgroup/cgroup.procs"
  exec nsenter --net="/run/netns/$netns" \
    unshare --fork --pid --mount --uts --ipc --cgroup --propagation private --kill-child=SIGKILL \
    bash "${BASH_SOURCE[0]}" inside "$number"
}

# In the new namespaces: the file systems of a machine, and its pid 1.
inside() {
  local root=$dir/root pid node
  read -r pid _ </proc/self/stat # still the outside's /proc, so the outside's number
  mount --rbind "$root" "$root"
  mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
  mount --bind "$root/proc/sys" "$root/proc/sys"
  mount -o remount,bind,ro "$root/proc/sys" # they are the machine's
  mount --bind "$dir/boot_id" "$root/proc/sys/kernel/random/boot_id"
  mount -t sysfs -o nosuid,nodev,noexec sysfs "$root/sys"
  mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 "$root/sys/fs/cgroup"
  mount -t tmpfs -o mode=755,nosuid dev "$root/dev"
  while read -r node; do
    # shellcheck disable=SC2086
    mknod -m 666 "$root/dev/"$node
  done <<<$'null c 1 3\nzero c 1 5\nfull c 1 7\nrandom c 1 8\nurandom c 1 9\ntty c 5 0\nconsole c 1 3'
  ln -s /proc/self/fd "$root/dev/fd"
  for node in 0:stdin 1:stdout 2:stderr; do ln -s "/proc/self/fd/${node%:*}" "$root/dev/${node#*:}"; done
  mkdir "$root/dev/"{pts,shm}
  mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$root/dev/pts"
  ln -s pts/ptmx "$root/dev/ptmx"
  mount -t tmpfs -o mode=1777 shm "$root/dev/shm"
  mount --bind "$dir/run" "$root/run"
  mkdir -p "$root/mnt"
  cd "$root"
  pivot_root . mnt
  # Not before: who enters by that number must not find the machine's own root.
  echo "$pid" >"/mnt$dir/init.pid"
  umount -l /mnt
  exec env -i container=hostbox PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin /usr/lib/systemd/systemd
}

main() {
  local verb=$1
  shift
  case $verb in
    hold) hold "$@" ;;
    start | inside) names "$1"; "$verb" ;;
    *) say "no such verb: $verb"; exit 2 ;;
  esac
}

# In one line: the whole file is read before anything runs.
main "$@"; exit
