//! Dockseal's unit files: addresses and a command line in, the text of a socket unit and of drop-ins out.

use super::ExecLine;
use crate::docker::Listen;
use std::fmt::Write;

/// Our copy of the binary on the host.
pub const BINARY: &str = "/var/lib/dockseal/bin/dockseal";
/// dockerd's unit, as Docker's packages have it.
pub const SERVICE: &str = "docker.service";
/// The unit of its unix socket.
pub const SOCKET: &str = "docker.socket";
/// The socket unit's name.
pub const SOCKET_NAME: &str = "dockseal-docker.socket";
/// The socket unit: TCP, handed over to dockerd.
pub const SOCKET_UNIT: &str = "/etc/systemd/system/dockseal-docker.socket";
/// The link that enables it, as its `WantedBy=sockets.target` says.
pub const SOCKET_WANT: &str = "/etc/systemd/system/sockets.target.wants/dockseal-docker.socket";
/// The drop-in of docker.service, behind every override.conf.
pub const DROP_IN: &str = "/etc/systemd/system/docker.service.d/zz-dockseal.conf";
/// The drop-in of docker.socket, where a how-to's TCP has to go.
pub const DOCKER_SOCKET_DROP_IN: &str = "/etc/systemd/system/docker.socket.d/zz-dockseal.conf";

/// How to be rid of all of it by hand. dockerd has the socket until it restarts, and without the drop-in nothing
/// guards it: hence the order.
const REMOVAL: &str = "\
# To be rid of it, delete the DockerHostCert with delivery.deletionPolicy: Delete. By hand, with the companion stopped:
#   systemctl disable --now dockseal-docker.socket
#   rm -f /etc/systemd/system/dockseal-docker.socket /etc/systemd/system/docker.s*.d/zz-dockseal.conf
#   systemctl daemon-reload && systemctl restart docker.socket docker.service
";

/// The socket unit. The guard runs before it opens and closes it for good; without a start limit, so that it opens
/// again once daemon.json is right.
pub fn socket_unit(listen: &[Listen]) -> String {
    let streams: String = listen.iter().fold(String::new(), |mut lines, one| {
        let _ = writeln!(lines, "ListenStream={}", one.stream());
        lines
    });
    format!(
        "# Written by Dockseal: Docker's API over mutual TLS, open only while daemon.json demands client certificates.\n\
         {REMOVAL}\
         [Unit]\n\
         Description=Docker API over mutual TLS\n\
         PartOf=docker.socket\n\
         StartLimitIntervalSec=0\n\
         \n\
         [Socket]\n\
         {streams}\
         BindIPv6Only=both\n\
         FreeBind=yes\n\
         Service=docker.service\n\
         ExecStartPre={BINARY} guard\n\
         \n\
         [Install]\n\
         WantedBy=sockets.target\n"
    )
}

/// The drop-in of docker.service: TCP is closed before dockerd starts unless the guard agrees, and looked at again
/// after the start. Where it cannot be closed dockerd does not start; where there is no such socket it does. `exec`
/// replaces the command line, where flags in it listen or speak of TLS.
pub fn drop_in(exec: Option<&ExecLine>) -> String {
    let exec = exec.map(|line| format!("ExecStart=\nExecStart={}\n", line.render())).unwrap_or_default();
    format!(
        "# Written by Dockseal: before dockerd starts, TCP is closed unless daemon.json demands client certificates.\n\
         {REMOVAL}\
         [Unit]\n\
         Wants={SOCKET_NAME}\n\
         \n\
         [Service]\n\
         {exec}\
         ExecStartPre=/bin/sh -c '{BINARY} guard || systemctl stop {SOCKET_NAME} || \
         test inactive = \"$$(systemctl show -p ActiveState --value {SOCKET_NAME})\"'\n\
         ExecStartPost=/bin/sh -c '{BINARY} guard || ! systemctl -q is-active {SOCKET_NAME}'\n"
    )
}

/// The drop-in of docker.service that is left behind where without it dockerd would listen as others once told it to.
pub fn closed_drop_in(exec: &ExecLine) -> String {
    format!(
        "# Left by Dockseal: dockerd's command line without the TCP listener that it had before Dockseal came.\n\
         # Without this file, dockerd listens as docker.service says again.\n\
         [Service]\n\
         ExecStart=\n\
         ExecStart={}\n",
        exec.render()
    )
}

/// The drop-in of docker.socket: the unix sockets that it had, as unit files have them, and nothing else, since an empty
/// `ListenStream=` takes listeners of every kind away (systemd.socket(5)).
pub fn docker_socket_drop_in(unix_paths: &[String]) -> String {
    let streams: String = unix_paths.iter().fold(String::new(), |mut lines, path| {
        let _ = writeln!(lines, "ListenStream={path}");
        lines
    });
    format!(
        "# Written by Dockseal: docker.socket without TCP, which {SOCKET_NAME} has.\n\
         {REMOVAL}\
         [Socket]\n\
         ListenStream=\n\
         {streams}"
    )
}
