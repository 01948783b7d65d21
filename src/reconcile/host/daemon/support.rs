//! Whether dockerd is run as this program can change it: by systemd's docker.service and docker.socket.

use super::error::StepError;
use crate::adapters::host::Host;
use crate::docker::unit;

/// Units of other ways to run containers, and what to call them.
const OTHERS: [(&str, &str); 3] = [
    ("snap.docker.dockerd.service", "the snap package of Docker"),
    ("pkg-ContainerManager-dockerd.service", "Synology's Container Manager"),
    ("podman.socket", "Podman"),
];

/// Fails where it is not; nothing is touched.
pub async fn check_supported(host: &impl Host) -> Result<(), StepError> {
    if let Err(error) = host.reach_systemd().await {
        return Err(StepError::Unsupported(format!(
            "mode: Daemon needs systemd, which cannot be reached ({error}): use mode: Files and restart dockerd yourself"
        )));
    }
    let (service, socket) = (host.unit(unit::SERVICE).await?, host.unit(unit::SOCKET).await?);
    let generated = service.fragment.starts_with("/run/systemd/generator");
    let mut what = match service.loaded {
        true if generated => "a docker.service that systemd made of a script in /etc/init.d",
        true if socket.loaded => return Ok(()),
        true => "docker.service without docker.socket",
        false => "no docker.service (rootless Docker, Docker Desktop, or none at all)",
    };
    for (unit, name) in OTHERS {
        if host.unit(unit).await?.loaded {
            what = name;
        }
    }
    Err(StepError::Unsupported(format!(
        "this host has {what}; mode: Daemon works with systemd's docker.service and docker.socket alone, and nothing \
         was touched: use mode: Files, and point dockerd to the files yourself"
    )))
}
