//! Settings out of systemd's unit files (systemd.syntax(7)): the files in the order in which systemd reads them in,
//! the values that are in force out.

/// The values of a list setting over all files: an empty assignment forgets what was before it.
pub fn values(files: &[&str], section: &str, key: &str) -> Vec<String> {
    let mut values = Vec::new();
    for file in files {
        for value in assignments(file, section, key) {
            match value.as_str() {
                "" => values.clear(),
                _ => values.push(value),
            }
        }
    }
    values
}

/// Whether a file assigns a setting, be it nothing.
pub fn mentions(file: &str, section: &str, key: &str) -> bool {
    !assignments(file, section, key).is_empty()
}

fn assignments(file: &str, section: &str, key: &str) -> Vec<String> {
    let mut inside = false;
    let mut found = Vec::new();
    for line in whole_lines(file) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            inside = name == section;
        } else if inside
            && let Some((name, value)) = line.split_once('=')
            && name.trim_end() == key
        {
            found.push(value.trim_start().to_owned());
        }
    }
    found
}

/// Lines without comments, those that end in a backslash joined by a space with what follows.
fn whole_lines(file: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut open = false;
    for line in file.lines() {
        let text = line.trim();
        if text.starts_with('#') || text.starts_with(';') {
            continue; // also between continued lines
        }
        let (text, continued) = match text.strip_suffix('\\') {
            Some(text) => (text, true),
            None => (text, false),
        };
        match lines.last_mut().filter(|_| open) {
            Some(last) => *last = format!("{last} {text}"),
            None => lines.push(text.to_owned()),
        }
        open = continued;
    }
    lines.into_iter().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const VENDOR: &str = "[Unit]\nDescription=ExecStart=no\n[Service]\nType=notify\nExecStart=/usr/sbin/dockerd -H fd:// \\\n# why\n  --containerd=/run/c.sock \\\n  $DOCKER_OPTS\nExecReload=/bin/kill\n";

    #[test]
    fn what_is_in_force_is_found() {
        let line = "/usr/sbin/dockerd -H fd://  --containerd=/run/c.sock  $DOCKER_OPTS";
        assert_eq!(values(&[VENDOR], "Service", "ExecStart"), [line]);
        let over = "[Service]\nExecStart=\nExecStart = /usr/bin/dockerd -H tcp://0.0.0.0:2375\n";
        assert_eq!(values(&[VENDOR, over], "Service", "ExecStart"), ["/usr/bin/dockerd -H tcp://0.0.0.0:2375"]);
        assert_eq!(values(&[over, VENDOR], "Service", "ExecStart").len(), 2, "systemd refuses that");
        assert!(values(&[VENDOR], "Socket", "ExecStart").is_empty());
    }

    #[test]
    fn lists_add_up() {
        let vendor = "[Socket]\nListenStream=/run/docker.sock\n; no\nSocketMode=0660";
        let more = "[Socket]\nListenStream=2376\nListenStream=10.0.0.1:2376";
        let none = "[Socket]\nListenStream=";
        let streams = |files: &[&str]| values(files, "Socket", "ListenStream");
        assert_eq!(streams(&[vendor, more]), ["/run/docker.sock", "2376", "10.0.0.1:2376"]);
        assert!(streams(&[vendor, more, none]).is_empty());
    }
}
