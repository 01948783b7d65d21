//! What dockerd reports in `GET /info` (Docker Engine API, SystemInfo): the body in, facts out.

use serde::{Deserialize, Serialize};

/// The parts of SystemInfo that decide whether dockerd may be restarted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Engine {
    /// live-restore is on: containers keep running while dockerd restarts.
    pub live_restore: bool,
    /// The host is a node of a swarm, where dockerd does not start with live-restore.
    pub swarm: bool,
    /// The number of running containers.
    pub running: u64,
}

impl Engine {
    /// Reads the body of the answer; none where it is not Docker's.
    pub fn parse(body: &[u8]) -> Option<Engine> {
        let body: serde_json::Value = serde_json::from_slice(body).ok()?;
        Some(Engine {
            live_restore: body["LiveRestoreEnabled"].as_bool()?,
            swarm: !matches!(body["Swarm"]["LocalNodeState"].as_str(), None | Some("" | "inactive")),
            running: body["ContainersRunning"].as_u64()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_read() {
        let body = |swarm: &str| {
            format!(
                r#"{{"LiveRestoreEnabled":true,"Swarm":{{"LocalNodeState":"{swarm}"}},"ContainersRunning":3,"X":[]}}"#
            )
        };
        let engine = Engine { live_restore: true, swarm: false, running: 3 };
        assert_eq!(Engine::parse(body("inactive").as_bytes()), Some(engine));
        assert_eq!(Engine::parse(body("pending").as_bytes()), Some(Engine { swarm: true, ..engine }));
        assert_eq!(Engine::parse(b"{}"), None);
        assert_eq!(Engine::parse(b"page not found"), None);
    }
}
