//! What a daemon.json says of TLS, listeners and live-restore: the document in, values as dockerd reads them out.

use super::document::DaemonJson;

/// The files that dockerd reads its TLS material from, as absolute paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsPaths {
    /// `tlscacert`: whose client certificates are taken.
    pub ca: String,
    /// `tlscert`: the server's certificate.
    pub cert: String,
    /// `tlskey`: its private key.
    pub key: String,
}

/// What daemon.json says of TLS, as dockerd reads it: names of any case, the last of many. A value of another type,
/// with which dockerd does not start, is None like one that is missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsSettings {
    /// `tls`: true alone is TLS with client certificates.
    pub tls: Option<bool>,
    /// `tlsverify`: false is TLS without client certificates.
    pub tlsverify: Option<bool>,
    /// `tlscacert`, a path.
    pub tlscacert: Option<String>,
    /// `tlscert`, a path.
    pub tlscert: Option<String>,
    /// `tlskey`, a path.
    pub tlskey: Option<String>,
}

impl TlsSettings {
    /// Anything is said of TLS.
    pub fn is_set(&self) -> bool {
        *self != TlsSettings::default()
    }

    /// The three files, where all are named.
    pub fn paths(&self) -> Option<TlsPaths> {
        let (ca, cert, key) = (self.tlscacert.clone()?, self.tlscert.clone()?, self.tlskey.clone()?);
        Some(TlsPaths { ca, cert, key })
    }
}

impl DaemonJson {
    /// What it says of TLS.
    pub fn tls(&self) -> TlsSettings {
        TlsSettings {
            tls: self.value("tls"),
            tlsverify: self.value("tlsverify"),
            tlscacert: self.value("tlscacert"),
            tlscert: self.value("tlscert"),
            tlskey: self.value("tlskey"),
        }
    }

    /// `hosts`, where dockerd listens; with a `-H` in its command line dockerd does not start. None: not said.
    pub fn hosts(&self) -> Option<Vec<String>> {
        self.value("hosts")
    }

    /// `live-restore`: containers run on while dockerd does not. None: not said, which is false.
    pub fn live_restore(&self) -> Option<bool> {
        self.value("live-restore")
    }
}
