//! Ways in which people have dockerd serve clients over TLS, on real hosts: each is refused by name and left as it is, or
//! taken over with its clients still served. None is Ready with a client locked out.

use crate::howto::HowTo;
use crate::support::hostbox::HostBox;
use crate::support::scratch::Scratch;
use crate::used_host::UsedHost;
use anyhow::{Context, Result, ensure};

/// What every way has: the how-to's files in /srv/old, the box's own files in /root/stock, and words for the scripts.
const WORDS: &str = r#"
    D=/usr/sbin/dockerd; FD='-H fd://'; TCP='-H tcp://0.0.0.0:2376'; C=--containerd=/run/containerd/containerd.sock
    PAIR='--tlscert=/srv/old/cert.pem --tlskey=/srv/old/key.pem'; CA=--tlscacert=/srv/old/ca.pem
    DIR=/etc/systemd/system/docker.service.d
    unit() { mkdir -p $DIR; printf '[Service]\nExecStart=\n%s\n' "$1" >$DIR/override.conf; }
    more() { printf '%s\n' "$1" >>$DIR/override.conf; }
    json() { sed -i "1s|{|{$1,|" /etc/docker/daemon.json; }
    member() { printf '"hosts": ["unix:///run/docker.sock", "tcp://0.0.0.0:2376"], "tlscert": "%s/cert.pem", "tlskey": "%s/key.pem"' "$1" "$1"; }
    decoy() { cp /root/stock/decoy.pem "$1"; }
"#;

/// The host is as it was at first, and dockerd is stopped.
const RESET: &str = r"
    systemctl stop dockseal-docker.socket docker.socket docker.service 2>/dev/null || true
    rm -rf /etc/systemd/system/docker.s*.d /etc/systemd/system/dockseal-docker.socket /etc/docker/certs /srv/* \
        /etc/systemd/system/sockets.target.wants/dockseal-docker.socket /var/lib/dockseal/*.json /root/.docker \
        /etc/docker-old /etc/certs.env /root/state/status/DockerHostCert
    cp -a /root/stock/docker.service /usr/lib/systemd/system/; cp -a /root/stock/docker /etc/default/
    cp -a /root/stock/daemon.json /etc/docker/; cp -a /root/stock/old /srv/
    systemctl daemon-reload; systemctl reset-failed";

const START: &str = "systemctl daemon-reload; systemctl start docker.socket docker.service";

/// A way: its name, what is done before dockerd starts, what while it runs, and what a take-over comes to.
struct Way(&'static str, &'static str, &'static str, End);

/// What a take-over comes to whose bundle admits the old clients.
#[derive(Clone, Copy, PartialEq)]
enum End {
    /// The old client is served.
    Kept,
    /// As `Kept`; not played to the end here.
    Same,
    /// It is refused, and that word says why.
    Refused(&'static str),
}

use End::{Kept, Refused, Same};

const UNITS: [Way; 15] = [
    Way(
        "values behind a space",
        "unit \"ExecStart=$D $FD $TCP $PAIR --tlsverify --tlscacert /srv/old/ca.pem $C\"",
        "",
        Kept,
    ),
    Way(
        "quotes and escapes",
        r#"unit "ExecStart=$D $FD '-Htcp://0.0.0.0:2376' $PAIR --tlsverify \"--tlscacert=\\x2fsrv/old/ca.pem\" $C""#,
        "",
        Same,
    ),
    Way("lines that go on", "unit \"ExecStart=$D \\\\\n  $FD $TCP \\\\\n# why\n  $PAIR --tlsverify $CA $C\"", "", Kept),
    Way(
        "a flag that is repeated",
        "unit \"ExecStart=$D $FD $TCP $PAIR --tlscacert=/nowhere --tlsverify $CA $C\"",
        "",
        Same,
    ),
    Way(
        "the vendor's unit, edited",
        "sed -i \"s|^ExecStart=.*|ExecStart=$D $FD $TCP $PAIR --tls $CA $C|\" /usr/lib/systemd/system/docker.service",
        "",
        Same,
    ),
    Way(
        "two drop-ins",
        "unit \"ExecStart=$D $FD\"; mv $DIR/override.conf $DIR/10-a.conf; unit \"ExecStart=$D $FD $TCP $PAIR --tlsverify $CA $C\"",
        "",
        Same,
    ),
    Way(
        "a specifier",
        "cp -a /srv/old /etc/docker-old; unit \"ExecStart=$D $FD $TCP $PAIR --tlsverify --tlscacert=%E/%p-old/ca.pem $C\"",
        "",
        Kept,
    ),
    Way(
        "the unit's name",
        "cp -a /srv/old /srv/docker.service; unit \"ExecStart=$D $FD $TCP $PAIR --tlsverify --tlscacert=/srv/%n/ca.pem $C\"",
        "",
        Same,
    ),
    Way(
        "a path from a working directory",
        "unit \"ExecStart=$D $FD $TCP $PAIR --tlsverify --tlscacert=old/ca.pem $C\"; more WorkingDirectory=/srv",
        "",
        Kept,
    ),
    Way(
        "a path from the home directory",
        "cp -a /srv/old /root/.docker; unit \"ExecStart=$D $FD $TCP $PAIR --tlsverify --tlscacert=.docker/ca.pem $C\"; more WorkingDirectory=~",
        "",
        Same,
    ),
    Way(
        "files that only the service sees",
        "mkdir /srv/seen; decoy /srv/seen/ca.pem; unit \"ExecStart=$D $FD $TCP $PAIR --tlsverify --tlscacert=/srv/seen/ca.pem $C\"; more BindReadOnlyPaths=/srv/old:/srv/seen",
        "",
        Kept,
    ),
    Way(
        "a script with flags of its own",
        "printf '#!/bin/sh\\nexec dockerd %s \"$@\"\\n' \"$FD $TCP $PAIR --tlsverify $CA\" >/srv/start; chmod 755 /srv/start; unit \"ExecStart=/srv/start $C\"",
        "",
        Refused("/srv/start"),
    ),
    Way(
        "a script that adds nothing",
        "printf '#!/bin/sh\\nexec dockerd \"$@\"\\n' >/srv/start; chmod 755 /srv/start; unit \"ExecStart=/srv/start $FD $TCP $PAIR --tlsverify $CA $C\"",
        "",
        Kept,
    ),
    Way("a shell", "unit \"ExecStart=/bin/sh -c 'exec $D $FD $TCP $PAIR --tlsverify $CA $C'\"", "", Refused("/bin/sh")),
    Way(
        "flags that are gone by now",
        "unit \"ExecStart=$D $FD $TCP $PAIR --tlsverify $CA $C\"",
        "rm -r $DIR; systemctl daemon-reload",
        Kept,
    ),
];

const VARIABLES: [Way; 11] = [
    Way(
        "all flags in Environment=",
        "unit \"ExecStart=$D $FD $C \\$DOCKER_OPTS\"; more \"Environment=\\\"DOCKER_OPTS=$TCP $PAIR --tlsverify $CA\\\"\"",
        "",
        Kept,
    ),
    Way("all flags in a file", "echo \"DOCKER_OPTS='$TCP $PAIR --tlsverify $CA'\" >/etc/default/docker", "", Same),
    Way(
        "a variable in a path",
        "unit \"ExecStart=$D $FD $TCP $PAIR --tlsverify --tlscacert=\\${CERTS}/ca.pem $C\"; more 'Environment=A=b CERTS=/srv/old'",
        "",
        Kept,
    ),
    Way(
        "a variable of a file",
        "echo CERTS=/srv/old >/etc/certs.env; unit \"ExecStart=$D $FD $TCP $PAIR --tlsverify --tlscacert=\\${CERTS}/ca.pem $C\"; more EnvironmentFile=/etc/certs.env",
        "",
        Same,
    ),
    Way(
        "a specifier in a variable",
        "cp -a /srv/old /srv/docker; unit \"ExecStart=$D $FD $TCP $PAIR --tlsverify --tlscacert=\\${CERTS}/ca.pem $C\"; more Environment=CERTS=/srv/%N",
        "",
        Same,
    ),
    Way(
        "DOCKER_CERT_PATH",
        "unit \"ExecStart=$D $FD $TCP --tlsverify $C\"; more Environment=DOCKER_CERT_PATH=/srv/old",
        "",
        Kept,
    ),
    Way(
        "DOCKER_CONFIG, relative",
        "unit \"ExecStart=$D $FD $TCP --tlsverify $C\"; more Environment=DOCKER_CONFIG=srv/old",
        "",
        Same,
    ),
    Way(
        "HOME",
        "mkdir /srv/h; cp -a /srv/old /srv/h/.docker; unit \"ExecStart=$D $FD $TCP --tlsverify $C\"; more Environment=HOME=/srv/h",
        "",
        Same,
    ),
    Way(
        "User=, and its home",
        "cp -a /srv/old /root/.docker; unit \"ExecStart=$D $FD $TCP --tlsverify $C\"; more User=root",
        "",
        Same,
    ),
    Way("no HOME at all", "cp -a /srv/old /root/.docker; unit \"ExecStart=$D $FD $TCP --tlsverify $C\"", "", Kept),
    Way(
        "a file that is gone by now",
        "echo CERTS=/srv/old >/etc/certs.env; unit \"ExecStart=$D $FD $TCP $PAIR --tlsverify --tlscacert=\\${CERTS}/ca.pem $C\"; more EnvironmentFile=/etc/certs.env",
        "rm /etc/certs.env",
        Refused("/etc/certs.env"),
    ),
];

const FILES: [Way; 9] = [
    Way(
        "a damaged block before the good one",
        "{ sed 3d /srv/old/ca.pem; cat /srv/old/ca.pem; } >/srv/ca.pem; unit \"ExecStart=$D $FD $TCP $PAIR --tlsverify --tlscacert=/srv/ca.pem $C\"",
        "",
        Kept,
    ),
    Way(
        "a damaged block behind the good one",
        "{ cat /srv/old/ca.pem; echo -----BEGIN CERTIFICATE-----; echo '?'; echo -----END CERTIFICATE-----; } >/srv/ca.pem; unit \"ExecStart=$D $FD $TCP $PAIR --tlsverify --tlscacert=/srv/ca.pem $C\"",
        "",
        Same,
    ),
    Way(
        "text of openssl, and lines of Windows",
        "{ echo 'Certificate:'; echo '    Subject: CN = evening'; cat /srv/old/ca.pem; echo; } | sed 's/$/\\r/' >/srv/ca.pem; unit \"ExecStart=$D $FD $TCP $PAIR --tlsverify --tlscacert=/srv/ca.pem $C\"",
        "",
        Same,
    ),
    Way(
        "a link",
        "ln -s old/ca.pem /srv/ca.pem; unit \"ExecStart=$D $FD $TCP $PAIR --tlsverify --tlscacert=/srv/ca.pem $C\"",
        "",
        Same,
    ),
    Way(
        "links on the way",
        "ln -s /srv/two /srv/one; ln -s ../srv/./old /srv/two; unit \"ExecStart=$D $FD $TCP $PAIR --tlsverify --tlscacert=/srv/one/ca.pem $C\"",
        "",
        Kept,
    ),
    Way(
        "a file that is gone by now",
        "unit \"ExecStart=$D $FD $TCP $PAIR --tlsverify $CA $C\"",
        "mv /srv/old/ca.pem /srv/old/ca.pem~",
        Refused("/srv/old/ca.pem"),
    ),
    Way(
        "a file that was changed",
        "unit \"ExecStart=$D $FD $TCP $PAIR --tlsverify $CA $C\"",
        "decoy /srv/old/ca.pem",
        Refused("was changed after"),
    ),
    Way(
        "a link that was changed",
        "mkdir /srv/new; decoy /srv/new/ca.pem; ln -s old /srv/now; unit \"ExecStart=$D $FD $TCP $PAIR --tlsverify --tlscacert=/srv/now/ca.pem $C\"",
        "ln -sfn new /srv/now",
        Refused("was changed after"),
    ),
    Way(
        "a file in place of which a directory is",
        "unit \"ExecStart=$D $FD $TCP $PAIR --tlsverify $CA $C\"",
        "rm /srv/old/ca.pem; mkdir /srv/old/ca.pem",
        Refused("regular file"),
    ),
];

const DAEMON_JSON: [Way; 8] = [
    Way(
        "hosts and tlsverify",
        "unit \"ExecStart=$D $C\"; json \"$(member /srv/old), \\\"tlsverify\\\": true, \\\"tlscacert\\\": \\\"/srv/old/ca.pem\\\"\"",
        "",
        Kept,
    ),
    Way(
        "tls alone",
        "unit \"ExecStart=$D $C\"; json \"$(member /srv/old), \\\"tls\\\": true, \\\"tlscacert\\\": \\\"/srv/old/ca.pem\\\"\"",
        "",
        Same,
    ),
    Way(
        "a name in escapes",
        "unit \"ExecStart=$D $C\"; json \"$(member /srv/old), \\\"tlsverify\\\": true, \\\"tlscacer\\\\\\\\u0074\\\": \\\"/srv/old/ca.pem\\\"\"",
        "",
        Same,
    ),
    Way(
        "relative paths",
        "unit \"ExecStart=$D $C\"; more WorkingDirectory=/srv; json \"$(member old), \\\"tlsverify\\\": true, \\\"tlscacert\\\": \\\"old/ca.pem\\\"\"",
        "",
        Same,
    ),
    Way(
        "the switch a flag, the file here",
        "unit \"ExecStart=$D $FD $TCP $PAIR --tlsverify $C\"; json '\"tlscacert\": \"/srv/old/ca.pem\"'",
        "",
        Kept,
    ),
    Way(
        "no file, so the system's own",
        "cp /etc/ssl/certs/ca-certificates.crt /srv/ || true; mkdir -p /etc/ssl/certs; cat /srv/old/ca.pem >>/etc/ssl/certs/ca-certificates.crt; unit \"ExecStart=$D $C\"; json \"$(member /srv/old), \\\"tlsverify\\\": true\"",
        "",
        Refused("tlscacert"),
    ),
    Way(
        "changed since",
        "unit \"ExecStart=$D $C\"; json \"$(member /srv/old), \\\"tlsverify\\\": true, \\\"tlscacert\\\": \\\"/srv/old/ca.pem\\\"\"",
        "mkdir /srv/new; decoy /srv/new/ca.pem; sed -i 's|/srv/old/ca.pem|/srv/new/ca.pem|' /etc/docker/daemon.json",
        Refused("daemon.json was changed"),
    ),
    Way(
        "gone by now",
        "unit \"ExecStart=$D $C\"; json \"$(member /srv/old), \\\"tlsverify\\\": true, \\\"tlscacert\\\": \\\"/srv/old/ca.pem\\\"\"",
        "mv /etc/docker/daemon.json /srv/; cp /root/stock/daemon.json /etc/docker/",
        Refused("daemon.json was changed"),
    ),
];

/// A host on which one way after the other is gone.
struct Trial<'a> {
    used: UsedHost<'a>,
    how_to: HowTo<'a>,
}

impl Trial<'_> {
    fn on(host: &HostBox) -> Result<Trial<'_>> {
        let how_to = HowTo::done(host, "/root/stock/old", ["cert.pem", "key.pem"])?;
        let made = Scratch::new("hostbox-decoy")?;
        made.run("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -keyout key -out ca -subj /CN=decoy")?;
        host.write("/root/stock/decoy.pem", std::fs::read(made.path().join("ca"))?, 0o600)?;
        host.sh(
            "cp -a /usr/lib/systemd/system/docker.service /etc/default/docker /etc/docker/daemon.json /root/stock/",
        )?;
        let mut used = UsedHost::taking_over(host)?;
        used.homelab.documents = how_to.secret();
        Ok(Trial { used, how_to })
    }

    /// Goes it to the end, and leaves the host as it was.
    fn goes(&mut self, Way(_, before, after, end): &Way) -> Result<()> {
        let host = self.used.host;
        host.sh(&format!("{RESET}\n{WORDS}\n{before}\n{START}")).with_context(|| self.used.facts())?;
        host.docker_ready()?;
        ensure!(self.how_to.client_is_served(true)?, "nobody is served before: {}", self.used.facts());
        host.sh(&format!("{WORDS}\n{after}"))?;
        self.homelab(false);
        let word = if let Refused(word) = end { word } else { "additionalTrust" };
        self.refused(word)?;
        self.homelab(true);
        match end {
            Same => Ok(()),
            Refused(word) => self.refused(word),
            Kept => {
                self.used.up_serving()?;
                ensure!(self.how_to.client_is_served(false)?, "an old client is shut out: {}", self.used.facts());
                Ok(())
            }
        }
    }

    /// The new bundle admits old clients, or does not.
    fn homelab(&mut self, admits: bool) {
        let trust = if admits { ", additionalTrust: [{secretRef: {name: old-ca}}]" } else { "" };
        self.used.homelab.authority = format!("subject: {{commonName: Docker CA}}{trust}");
    }

    /// It is refused for that, nothing is touched, and the old client is served.
    fn refused(&self, word: &str) -> Result<()> {
        let facts = || {
            self.used.host.sh(
                "find /etc/docker /etc/default /etc/systemd /usr/lib/systemd/system/docker* /srv -type f -exec sha256sum {} +; \
                 systemctl show -p MainPID docker.service",
            )
        };
        let before = facts()?;
        let said = self.used.up_refused("Serving", "DaemonConflict")?;
        ensure!(said.contains(word), "it says: {said}");
        ensure!(facts()? == before, "something was touched: {before}\n{}", facts()?);
        ensure!(self.how_to.client_is_served(true)?, "an old client is shut out: {}", self.used.facts());
        Ok(())
    }
}

fn go(ways: &[Way]) -> Result<()> {
    let host = HostBox::boot()?;
    let mut trial = Trial::on(&host)?;
    for way in ways {
        trial.goes(way).with_context(|| format!("the way: {}", way.0))?;
    }
    Ok(())
}

#[test]
fn flags_in_units() -> Result<()> {
    go(&UNITS)
}

#[test]
fn flags_and_paths_in_variables() -> Result<()> {
    go(&VARIABLES)
}

#[test]
fn files_of_authorities() -> Result<()> {
    go(&FILES)
}

#[test]
fn settings_in_daemon_json() -> Result<()> {
    go(&DAEMON_JSON)
}
