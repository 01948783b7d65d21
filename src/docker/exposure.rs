//! Whether a Docker host lets in clients that it must refuse: what they were answered in, one verdict out. Only a refusal
//! is a refusal: what was not answered, or not clearly, is unknown. It asks nobody.

use super::scan::{PlainAnswer, StrangerAnswers, TlsAnswer};

/// Docker's port of plain HTTP.
pub const PLAIN_HTTP_PORT: u16 = 2375;

/// A client that a Docker host must refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stranger {
    /// It speaks plain HTTP.
    PlainHttp,
    /// It speaks TLS, and has no certificate.
    NoCertificate,
    /// Its certificate is self-signed.
    SelfSigned,
    /// Its authority has the name of the host's own, and another key.
    Impostor,
}

impl Stranger {
    /// Those that a host is asked as, the most common mistake first.
    pub const ALL: [Stranger; 4] =
        [Stranger::PlainHttp, Stranger::NoCertificate, Stranger::SelfSigned, Stranger::Impostor];

    /// Such clients, as a part of a sentence.
    pub fn clients(self) -> &'static str {
        match self {
            Stranger::PlainHttp => "everybody in plain HTTP, without a certificate",
            Stranger::NoCertificate => "clients without a certificate",
            Stranger::SelfSigned => "clients with a certificate that they made themselves",
            Stranger::Impostor => "clients of any authority that calls itself as the host's own does",
        }
    }

    /// What closes the port to them, as a sentence.
    pub fn remedy(self) -> &'static str {
        match self {
            Stranger::PlainHttp => {
                "Remove that tcp:// address from dockerd's -H options and from hosts in daemon.json, or write \
                 \"tlsverify\": true and tlscacert, tlscert and tlskey into daemon.json; then restart dockerd"
            }
            Stranger::NoCertificate => {
                "Write \"tlsverify\": true and tlscacert into daemon.json, or start dockerd with --tlsverify and \
                 --tlscacert; then restart dockerd"
            }
            Stranger::SelfSigned | Stranger::Impostor => {
                "A dockerd with tlsverify refuses them: find the program that answers there, perhaps a proxy, and have it \
                 verify clients by ca.pem, or stop it"
            }
        }
    }
}

/// Whether one of them is let in, and the server's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// The server refuses it.
    Refused(String),
    /// The server answers it, whatever the answer is.
    Admitted(String),
    /// Neither is certain.
    Unknown(String),
}

/// Whether a listener lets strangers in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exposure {
    /// There is no connection, and why: nothing is known.
    Unreachable(String),
    /// It answers such a stranger.
    Open(Stranger),
    /// It is not certain that it refuses such a stranger, and why.
    Unknown(Stranger, String),
    /// It refuses each of them.
    Closed,
}

impl StrangerAnswers {
    /// Whether that stranger is let in; none where it was not tried.
    pub fn admission(&self, stranger: Stranger) -> Option<Admission> {
        match stranger {
            Stranger::PlainHttp => Some(self.plain_admission()),
            Stranger::NoCertificate => Some(self.tls_admission(&self.no_certificate)),
            Stranger::SelfSigned => Some(self.tls_admission(&self.self_signed)),
            Stranger::Impostor => self.impostor.as_ref().map(|answer| self.tls_admission(answer)),
        }
    }

    /// The verdict on the listener. One stranger that is let in opens it, whatever the others got.
    pub fn exposure(&self) -> Exposure {
        let tried = || Stranger::ALL.into_iter().filter_map(|stranger| Some((stranger, self.admission(stranger)?)));
        if let Some((stranger, _)) = tried().find(|(_, admission)| matches!(admission, Admission::Admitted(_))) {
            return Exposure::Open(stranger);
        }
        if let PlainAnswer::Closed(why) = &self.plain {
            return Exposure::Unreachable(why.clone());
        }
        let unknown = tried().find_map(|(stranger, admission)| match admission {
            Admission::Unknown(why) => Some(Exposure::Unknown(stranger, why)),
            _ => None,
        });
        unknown.unwrap_or(Exposure::Closed)
    }

    /// Who is let in without TLS needs none.
    fn tls_admission(&self, answer: &TlsAnswer) -> Admission {
        match (answer, &self.plain) {
            (TlsAnswer::NotTls, PlainAnswer::Answered(_)) => Admission::Admitted("it does not speak TLS".into()),
            _ => tls_admission(answer),
        }
    }

    /// A server of TLS may hang up on plain HTTP; of another server that says nothing.
    fn plain_admission(&self) -> Admission {
        let speaks_tls = matches!(self.no_certificate, TlsAnswer::Answered(_) | TlsAnswer::Refused(_));
        match &self.plain {
            PlainAnswer::TlsRequired => Admission::Refused("400: the server demands TLS".into()),
            PlainAnswer::HungUp if speaks_tls => Admission::Refused("it hangs up".into()),
            PlainAnswer::HungUp => Admission::Unknown("it speaks neither HTTP nor TLS".into()),
            PlainAnswer::Answered(status) => Admission::Admitted(status.clone()),
            PlainAnswer::NotDocker(status) => {
                Admission::Unknown(format!("a server answers that is not Docker: {status}"))
            }
            PlainAnswer::Silence(why) | PlainAnswer::Closed(why) => Admission::Unknown(why.clone()),
        }
    }
}

/// A client that gets an answer of HTTP is in, whatever its status: an authorization plugin or a proxy that forbids one
/// path may allow another. The exception is a proxy that says that the certificate is at fault.
fn tls_admission(answer: &TlsAnswer) -> Admission {
    match answer {
        TlsAnswer::Refused(why) => Admission::Refused(why.clone()),
        TlsAnswer::Answered(answer) => match answer.status {
            0 => Admission::Unknown("the answer is not HTTP".into()),
            status if answer.refuses_certificate && !answer.is_docker => Admission::Refused(format!("HTTP {status}")),
            status => Admission::Admitted(format!("HTTP {status}")),
        },
        TlsAnswer::HungUp => Admission::Unknown("it hangs up without a reason".into()),
        TlsAnswer::NotTls => Admission::Unknown("it does not speak TLS".into()),
        TlsAnswer::Silence(why) | TlsAnswer::Unusable(why) => Admission::Unknown(why.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::docker::scan::PingAnswer;

    fn refused() -> TlsAnswer {
        TlsAnswer::Refused("bad certificate".into())
    }

    fn answered(status: u16, is_docker: bool, refuses_certificate: bool) -> TlsAnswer {
        TlsAnswer::Answered(PingAnswer { status, is_docker, refuses_certificate, version: None })
    }

    fn closed() -> StrangerAnswers {
        StrangerAnswers {
            plain: PlainAnswer::TlsRequired,
            no_certificate: refused(),
            self_signed: refused(),
            impostor: Some(refused()),
        }
    }

    #[test]
    fn only_a_refusal_of_every_stranger_closes_a_port() {
        use Stranger::{Impostor, NoCertificate, PlainHttp, SelfSigned};
        type Change = fn(&mut StrangerAnswers);
        let table: [(&str, Option<Stranger>, Change); 24] = [
            ("closed", None, |_| {}),
            ("closed", None, |seen| seen.plain = PlainAnswer::HungUp),
            ("open", Some(PlainHttp), |seen| seen.plain = PlainAnswer::Answered("HTTP/1.0 200 OK".into())),
            ("open", Some(PlainHttp), |seen| seen.plain = PlainAnswer::Answered("HTTP/1.0 403 Forbidden".into())),
            ("unknown", Some(PlainHttp), |seen| seen.plain = PlainAnswer::NotDocker("HTTP/1.0 404 Not Found".into())),
            ("unknown", Some(PlainHttp), |seen| seen.plain = PlainAnswer::Silence("late".into())),
            ("unknown", Some(PlainHttp), |seen| {
                (seen.plain, seen.no_certificate) = (PlainAnswer::HungUp, TlsAnswer::NotTls);
            }),
            ("open", Some(NoCertificate), |seen| seen.no_certificate = answered(200, true, false)),
            ("open", Some(NoCertificate), |seen| seen.no_certificate = answered(403, true, false)),
            ("open", Some(NoCertificate), |seen| seen.no_certificate = answered(403, false, false)),
            ("open", Some(NoCertificate), |seen| seen.no_certificate = answered(401, false, false)),
            ("open", Some(NoCertificate), |seen| seen.no_certificate = answered(404, false, false)),
            ("open", Some(NoCertificate), |seen| seen.no_certificate = answered(502, false, false)),
            // Docker's own answer is none of a proxy's, whatever it says.
            ("open", Some(NoCertificate), |seen| seen.no_certificate = answered(400, true, true)),
            ("closed", None, |seen| seen.no_certificate = answered(400, false, true)),
            ("unknown", Some(NoCertificate), |seen| seen.no_certificate = answered(0, false, false)),
            ("unknown", Some(NoCertificate), |seen| seen.no_certificate = TlsAnswer::HungUp),
            ("unknown", Some(NoCertificate), |seen| seen.no_certificate = TlsAnswer::Silence("late".into())),
            ("open", Some(SelfSigned), |seen| seen.self_signed = answered(200, true, false)),
            ("open", Some(Impostor), |seen| seen.impostor = Some(answered(200, true, false))),
            ("unknown", Some(Impostor), |seen| seen.impostor = Some(TlsAnswer::HungUp)),
            ("unreachable", None, |seen| seen.plain = PlainAnswer::Closed("connection refused".into())),
            ("open", Some(NoCertificate), |seen| {
                (seen.plain, seen.no_certificate) = (PlainAnswer::Closed("reset".into()), answered(200, true, false));
            }),
            // One that is let in counts for more than what is not known of another.
            ("open", Some(Impostor), |seen| {
                (seen.plain, seen.impostor) = (PlainAnswer::Silence("late".into()), Some(answered(200, true, false)));
            }),
        ];
        for (number, (expected, who, change)) in table.into_iter().enumerate() {
            let mut seen = closed();
            change(&mut seen);
            let found = match seen.exposure() {
                Exposure::Closed => ("closed", None),
                Exposure::Open(stranger) => ("open", Some(stranger)),
                Exposure::Unknown(stranger, _) => ("unknown", Some(stranger)),
                Exposure::Unreachable(_) => ("unreachable", None),
            };
            assert_eq!(found, (expected, who), "{number}: {seen:?}");
        }
    }
}
