//! A hand-written ClientHello of TLS 1.0 or 1.1, which the TLS library does not speak: an address in, whether its server
//! agrees to that version out. It reads only the server's first record.

use crate::adapters::docker::request::{connect, is_cut, within};
use crate::adapters::random;
use crate::docker::scan::{TlsVersion, VersionSupport};
use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const SERVER_HELLO: u8 = 2;
/// `protocol_version` (RFC 8446, 6.2).
const PROTOCOL_VERSION: u8 = 70;
/// What servers of those versions had: ECDHE and RSA with AES, 3DES, and the word for secure renegotiation (RFC 5746).
const SUITES: [u16; 8] = [0xc00a, 0xc009, 0xc014, 0xc013, 0x0035, 0x002f, 0x000a, 0x00ff];
/// Supported groups X25519, P-256, P-384 and P-521 (RFC 8422, 5.1.1), and uncompressed points (5.1.2).
const EXTENSIONS: [u8; 20] = [0, 10, 0, 10, 0, 8, 0, 29, 0, 23, 0, 24, 0, 25, 0, 11, 0, 2, 1, 0];

/// Offers that version and none above it.
pub(super) async fn offer(address: SocketAddr, version: TlsVersion) -> VersionSupport {
    let minor = if version == TlsVersion::V10 { 1 } else { 2 };
    match within(exchange(address, minor)).await {
        Ok(answer) => support(&answer, minor),
        Err(error) if is_cut(error.kind()) => VersionSupport::No("it hangs up".into()),
        Err(error) => VersionSupport::Unknown(error.to_string()),
    }
}

/// The first bytes of the answer: those of a record, its handshake message and the version in it.
async fn exchange(address: SocketAddr, minor: u8) -> io::Result<Vec<u8>> {
    let mut stream = connect(address).await?;
    stream.write_all(&client_hello(minor, random::serial().0)).await?;
    let mut answer = Vec::new();
    stream.take(11).read_to_end(&mut answer).await?;
    Ok(answer)
}

fn support(answer: &[u8], minor: u8) -> VersionSupport {
    match *answer {
        [] => VersionSupport::No("it hangs up".into()),
        [HANDSHAKE, 3, _, _, _, SERVER_HELLO, _, _, _, 3, chosen] if chosen == minor => VersionSupport::Yes,
        [ALERT, 3, _, _, _, _, PROTOCOL_VERSION, ..] => VersionSupport::No("the version is refused".into()),
        [ALERT, 3, _, _, _, _, description, ..] => VersionSupport::No(format!("alert {description}")),
        [HANDSHAKE, 3, ..] => VersionSupport::No("it answers with another version".into()),
        _ => VersionSupport::Unknown("it does not speak TLS".into()),
    }
}

/// RFC 2246, 7.4.1.2, in one record.
fn client_hello(minor: u8, seed: [u8; 16]) -> Vec<u8> {
    let mut body = vec![3, minor];
    body.extend(seed.into_iter().chain(seed)); // no key is derived from it
    body.push(0); // no session
    body.extend(length(SUITES.len() * 2));
    body.extend(SUITES.iter().flat_map(|suite| suite.to_be_bytes()));
    body.extend([1, 0]); // no compression
    body.extend(length(EXTENSIONS.len()));
    body.extend(EXTENSIONS);
    let mut hello = vec![HANDSHAKE, 3, 1];
    hello.extend(length(body.len() + 4));
    hello.extend([1, 0]);
    hello.extend(length(body.len()));
    hello.extend(body);
    hello
}

fn length(bytes: usize) -> [u8; 2] {
    u16::try_from(bytes).expect("a short message").to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_add_up() {
        let hello = client_hello(2, [7; 16]);
        assert_eq!(hello.len(), 5 + usize::from(u16::from_be_bytes([hello[3], hello[4]])));
        assert_eq!(hello.len(), 9 + usize::from(u16::from_be_bytes([hello[7], hello[8]])));
        assert_eq!(EXTENSIONS.len(), 4 + 10 + 4 + 2);
        assert_eq!(hello[9..11], [3, 2]);
    }

    #[test]
    fn only_a_server_hello_of_that_version_speaks_it() {
        let hello = |minor| [22, 3, minor, 0, 50, 2, 0, 0, 46, 3, minor];
        assert_eq!(support(&hello(1), 1), VersionSupport::Yes);
        assert_eq!(support(&hello(2), 2), VersionSupport::Yes);
        for answer in [hello(1).as_slice(), &hello(3), &[21, 3, 1, 0, 2, 2, 70], &[21, 3, 1, 0, 2, 2, 40], &[]] {
            assert!(matches!(support(answer, 2), VersionSupport::No(_)), "{answer:?}");
        }
        for answer in [b"HTTP/1.1 40".as_slice(), &[1], &[22, 9]] {
            assert!(matches!(support(answer, 2), VersionSupport::Unknown(_)), "{answer:?}");
        }
    }
}
