//! Versions of Portainer and Docker in, whether the two work together out.

/// Whether this Portainer is too old for this Docker: Docker 29 dropped the API versions that Portainer used before 2.33.5
/// (long-term) and 2.36.0 (portainer/portainer#12934). A version that cannot be parsed counts as new enough.
pub fn too_old(portainer: &str, docker: &str) -> bool {
    let (Some(portainer), Some(docker)) = (numbers(portainer), numbers(docker)) else { return false };
    let new_enough = portainer >= (2, 36, 0) || ((2, 33, 5)..(2, 34, 0)).contains(&portainer);
    docker.0 >= 29 && !new_enough
}

/// Major, minor and patch of a version such as `v2.33.5-rc1`; a missing number is 0.
fn numbers(version: &str) -> Option<(u32, u32, u32)> {
    let version = version.trim().trim_start_matches('v');
    let end = version.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(version.len());
    let mut parts = version[..end].split('.').filter(|part| !part.is_empty()).map(|part| part.parse::<u32>().ok());
    let major = parts.next()??;
    let mut next = || parts.next().map_or(Some(0), |part| part);
    Some((major, next()?, next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_29_needs_a_newer_portainer() {
        for (portainer, docker, old) in [
            ("2.21.4", "29.0.0", true),
            ("2.33.4", "29.1.2", true),
            ("2.33.5", "29.1.2", false),
            ("2.33.11", "29", false),
            ("2.34.0", "29.0.0", true),
            ("2.35.9", "30.0.0", true),
            ("2.36.0", "29.0.0", false),
            ("v3.0", "29.0.0-rc.1", false),
            ("2.21.4", "28.5.1", false),
            ("2.21.4", "20.10.24+dfsg1", false),
            ("", "29.0.0", false),
            ("2.21.4", "dev", false),
            ("develop", "29.0.0", false),
        ] {
            assert_eq!(too_old(portainer, docker), old, "{portainer} and {docker}");
        }
    }
}
