//! What a daemon.json says of TLS, listeners and live-restore: the document in, values as dockerd reads them out.

use super::document::DaemonJson;

/// The files that dockerd reads its TLS material from, as absolute paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsPaths {
    /// `tlscacert`: the authorities whose client certificates are accepted.
    pub ca: String,
    /// `tlscert`: the server's certificate.
    pub cert: String,
    /// `tlskey`: its private key.
    pub key: String,
}

/// The TLS settings of daemon.json as dockerd reads them: names in any case, and the last one of several. A value of
/// another type, with which dockerd does not start, is None, like a missing one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsSettings {
    /// `tls`: true alone is TLS with client certificates.
    pub tls: Option<bool>,
    /// `tlsverify`: false is TLS without client certificates.
    pub tlsverify: Option<bool>,
    /// `tlscacert`, the path of the authorities.
    pub tlscacert: Option<String>,
    /// `tlscert`, the path of the certificate.
    pub tlscert: Option<String>,
    /// `tlskey`, the path of the key.
    pub tlskey: Option<String>,
}

impl TlsSettings {
    /// At least one TLS setting is there.
    pub fn is_set(&self) -> bool {
        *self != TlsSettings::default()
    }

    /// The three files; none where one of them is not named.
    pub fn paths(&self) -> Option<TlsPaths> {
        let (ca, cert, key) = (self.tlscacert.clone()?, self.tlscert.clone()?, self.tlskey.clone()?);
        Some(TlsPaths { ca, cert, key })
    }
}

impl DaemonJson {
    /// The settings of TLS.
    pub fn tls(&self) -> TlsSettings {
        TlsSettings {
            tls: self.value("tls"),
            tlsverify: self.value("tlsverify"),
            tlscacert: self.value("tlscacert"),
            tlscert: self.value("tlscert"),
            tlskey: self.value("tlskey"),
        }
    }

    /// `hosts`, where dockerd listens; none where it is not set. dockerd does not start with `hosts` and `-H`.
    pub fn hosts(&self) -> Option<Vec<String>> {
        self.value("hosts")
    }

    /// `live-restore`: containers keep running while dockerd is stopped. None: not set, which is false.
    pub fn live_restore(&self) -> Option<bool> {
        self.value("live-restore")
    }
}
