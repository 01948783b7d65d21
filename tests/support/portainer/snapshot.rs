//! What a snapshot says of a Docker host: a dialled host in, JSON out.

use super::dial::Target;
use http::Method;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

/// Asks the host; what it does not say stays empty.
pub async fn of(target: &Target) -> Value {
    let info = match target.ask(Method::GET, "/info").await {
        Ok(answer) => serde_json::from_slice(answer.body()).unwrap_or_default(),
        Err(_) => Value::Null,
    };
    json!({
        "Time": Timestamp::now().as_second(), "DockerVersion": info["ServerVersion"].as_str().unwrap_or_default(),
        "Swarm": false, "TotalCPU": info["NCPU"].as_u64().unwrap_or_default(),
        "TotalMemory": info["MemTotal"].as_u64().unwrap_or_default(), "ContainerCount": 0, "RunningContainerCount": 0,
        "StoppedContainerCount": 0, "HealthyContainerCount": 0, "UnhealthyContainerCount": 0, "VolumeCount": 0,
        "ImageCount": 0, "ServiceCount": 0, "StackCount": 0, "DockerSnapshotRaw": {}, "NodeCount": 0,
        "GpuUseAll": false, "GpuUseList": [], "IsPodman": false,
    })
}
