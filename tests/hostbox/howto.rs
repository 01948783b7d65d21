//! What a how-to leaves on a host: an authority by openssl, certificates of it, and a client that uses them.

use crate::support::hostbox::HostBox;
use crate::support::scratch::Scratch;
use anyhow::Result;

/// An evening's work.
pub struct HowTo<'a> {
    host: &'a HostBox,
    /// The authority's certificate and key, PEM.
    pub authority: [String; 2],
}

impl<'a> HowTo<'a> {
    /// ca.pem and the pair of those names in `directory`; the client's files in /root/old.
    pub fn done(host: &'a HostBox, directory: &str, [cert, key]: [&str; 2]) -> Result<HowTo<'a>> {
        let made = Scratch::new("hostbox-how-to")?;
        made.run(&format!(
            "new='openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2'
            $new -keyout ca-key.pem -out ca.pem -subj /CN=evening
            $new -CA ca.pem -CAkey ca-key.pem -keyout key.pem -out cert.pem -subj /CN=host \
              -addext subjectAltName=IP:{0} -addext extendedKeyUsage=serverAuth \
              -addext basicConstraints=critical,CA:FALSE
            $new -CA ca.pem -CAkey ca-key.pem -keyout client-key.pem -out client.pem -subj /CN=client \
              -addext extendedKeyUsage=clientAuth -addext basicConstraints=critical,CA:FALSE",
            host.ip()
        ))?;
        let read = |name: &str| std::fs::read_to_string(made.path().join(name));
        for (from, to) in [("ca.pem", "ca.pem"), ("cert.pem", cert), ("key.pem", key)] {
            host.write(&format!("{directory}/{to}"), read(from)?, 0o600)?;
        }
        for (from, to) in [("ca.pem", "ca.pem"), ("client.pem", "cert.pem"), ("client-key.pem", "key.pem")] {
            host.write(&format!("/root/old/{to}"), read(from)?, 0o600)?;
        }
        Ok(HowTo { host, authority: [read("ca.pem")?, read("ca-key.pem")?] })
    }

    /// The authority as a Secret of YAML, to adopt it or to trust it besides.
    pub fn secret(&self) -> String {
        let indented = |pem: &str| pem.trim_end().replace('\n', "\n    ");
        let [cert, key] = &self.authority;
        format!(
            "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: old-ca}}\nstringData:\n  ca.pem: |\n    {}\n  ca-key.pem: |\n    {}\n",
            indented(cert),
            indented(key)
        )
    }

    /// Whether its client is served, and by whomever its ca.pem trusts where that is `checked`.
    pub fn client_is_served(&self, checked: bool) -> Result<bool> {
        let trust = if checked { "--tlsverify" } else { "--tls --tlsverify=false" };
        let files = "--tlscacert /root/old/ca.pem --tlscert /root/old/cert.pem --tlskey /root/old/key.pem";
        let script = format!("docker {trust} {files} -H tcp://{}:2376 version", self.host.ip());
        Ok(self.host.exec(&["sh", "-c", &script])?.status.success())
    }
}
