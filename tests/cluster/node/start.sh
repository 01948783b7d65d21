#!/usr/bin/env bash
# A node's containerd and kubelet in a box: start.sh NAME ADDRESS DNS CGROUP PODS. Runs until it is killed, in a mount namespace of
# its own. What it writes is in /etc/node, /var/lib/node and /run/node; pods' directories are the kubelet's usual ones.
set -euo pipefail

readonly name=$1 address=$2 dns=$3 cgroup=$4 pods=$5
readonly socket=/run/node/containerd.sock
mkdir -p /etc/node/cni /var/lib/node /run/node

# Pods need controllers. Where the machine has them on cgroup 1, they are shown here, and to nobody else in the box.
controllers() {
  local controller
  grep -qw memory /sys/fs/cgroup/cgroup.controllers && return
  mount -t tmpfs cgroup /sys/fs/cgroup
  for controller in $(awk '!/^#/ && $2 != 0 && $4 == 1 { print $1 }' /proc/cgroups); do
    mkdir "/sys/fs/cgroup/$controller"
    mount -t cgroup -o "$controller" cgroup "/sys/fs/cgroup/$controller"
    mkdir -p "/sys/fs/cgroup/$controller/$cgroup"
  done
}

# What the kubelet sets of the kernel would be the machine's; and it wants to hear who ran out of memory.
kernel() {
  local setting
  for setting in vm/overcommit_memory kernel/panic kernel/panic_on_oops; do
    cp "/proc/sys/$setting" "/run/node/${setting#*/}"
    mount --bind "/run/node/${setting#*/}" "/proc/sys/$setting"
  done
  ln -s null /dev/kmsg
}

containers() {
  cat >/etc/node/containerd.toml <<END
version = 2
root = "/var/lib/node/containerd"
state = "/run/node/containerd"
[grpc]
  address = "$socket"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "docker.io/library/pause:1"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "/etc/node/cni"
END
  cat >/etc/node/cni/pods.conflist <<END
{"cniVersion": "1.0.0", "name": "pods", "plugins": [{
  "type": "ptp", "ipam": {"type": "host-local", "ranges": [[{"subnet": "$pods"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}
END
  containerd --config /etc/node/containerd.toml >/run/node/containerd.log 2>&1 &
  until ctr -a "$socket" version >/dev/null 2>&1; do sleep 0.1; done
  # The sandbox of a pod: what waits and does nothing.
  docker import -c 'CMD ["/bin/sleep", "infinity"]' /usr/local/share/hostbox/busybox.tar pause:1 >/dev/null
  docker save pause:1 | ctr -a "$socket" -n k8s.io images import - >/dev/null
}

kubelet() {
  cat >/etc/node/kubelet.yaml <<END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
cgroupDriver: cgroupfs
cgroupRoot: /$cgroup
clusterDNS: [$dns]
clusterDomain: cluster.local
containerRuntimeEndpoint: unix://$socket
enforceNodeAllocatable: []
failCgroupV1: false
failSwapOn: false
localStorageCapacityIsolation: false
resolvConf: ""
END
  exec /usr/local/bin/kubelet --config=/etc/node/kubelet.yaml --kubeconfig=/etc/node/kubeconfig --hostname-override="$name" \
    --node-ip="$address"
}

controllers
kernel
containers
kubelet
