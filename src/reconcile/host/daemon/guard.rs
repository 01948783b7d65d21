//! The guard that systemd runs before dockerd's TCP listener opens and around each start of dockerd: daemon.json in,
//! yes or no out. It changes nothing.

use crate::adapters::host::Host;
use crate::decide::host::daemon_config::DAEMON_JSON;
use crate::docker::daemon_json::enforces_client_auth;
use crate::docker::unit;

/// Note that tells the guard to keep the listener out.
pub const LISTENER_OUT: &str = "closed.json";

/// Whether dockerd may have its TCP listener: only where daemon.json makes it demand client certificates.
///
/// # Errors
/// Why not, in words.
pub fn guard(host: &impl Host) -> Result<(), String> {
    let out = host.read_note::<String>(LISTENER_OUT).map_err(|error| error.to_string())?;
    if out.is_some() {
        return Err("the listener is kept out, since someone changed dockerd's configuration again and again".into());
    }
    demands_certificates(host)?; // the sooner it is closed the better, and the later it is found open
    reads_daemon_json(host)?;
    demands_certificates(host)
}

/// dockerd is not told to read another file.
fn reads_daemon_json(host: &impl Host) -> Result<(), String> {
    let line = host.started_with(unit::SERVICE).ok_or("systemd does not say how dockerd is started")?.join(" ");
    let values = unit::variables(&line).filter_map(|name| host.variable(name));
    let words: Vec<String> = [line.clone()].into_iter().chain(values).collect();
    let words: Vec<&str> = words.iter().flat_map(|text| text.split_whitespace()).collect();
    let files = words.iter().enumerate().filter_map(|(index, word)| match word.strip_prefix("--config-file")? {
        "" => words.get(index + 1).copied(),
        value => value.strip_prefix('='),
    });
    match files.into_iter().find(|file| *file != DAEMON_JSON) {
        Some(other) => Err(format!("dockerd is started with --config-file={other}, and reads no daemon.json")),
        None => Ok(()),
    }
}

fn demands_certificates(host: &impl Host) -> Result<(), String> {
    let path = host.resolve(DAEMON_JSON.as_ref()).map_err(|error| error.to_string())?;
    let entry = host.read(&path).map_err(|error| error.to_string())?;
    let text = entry.bytes().ok_or("there is no daemon.json")?;
    let paths = enforces_client_auth(text).map_err(|error| error.to_string())?;
    let missing = [&paths.ca, &paths.cert, &paths.key].into_iter().find(|path| !host.exists(path));
    missing.map_or(Ok(()), |path| Err(format!("{path} is missing")))
}
