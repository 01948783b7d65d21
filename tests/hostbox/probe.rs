//! That a probe sees what it is there to see, and nothing else.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use crate::support::hostbox::HostBox;
use crate::support::hostbox::probe::Probe;
use crate::support::scratch::Scratch;

const SOON: Duration = Duration::from_secs(90);

/// The how-to's drop-in: docker.socket listens on TCP too, and whatever dockerd starts with gets that socket.
fn listen_on_tcp(host: &HostBox) -> Result<SocketAddr> {
    let address = SocketAddr::from((host.ip(), 2376));
    let drop_in = format!("[Socket]\nListenStream={address}\n");
    host.write("/etc/systemd/system/docker.socket.d/tcp.conf", drop_in, 0o644)?;
    Ok(address)
}

/// An authority, and with it a certificate for the box and one for a client, in /etc/docker/certs.
fn certificates(host: &HostBox) -> Result<serde_json::Value> {
    let made = Scratch::new("hostbox-certificates")?;
    made.run(&format!(
        "new='openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2'
        $new -keyout ca-key.pem -out ca.pem -subj /CN=ca
        $new -CA ca.pem -CAkey ca-key.pem -keyout key.pem -out cert.pem -subj /CN=host \
          -addext subjectAltName=IP:{0} -addext extendedKeyUsage=serverAuth -addext basicConstraints=critical,CA:FALSE
        $new -CA ca.pem -CAkey ca-key.pem -keyout client-key.pem -out client.pem -subj /CN=client \
          -addext extendedKeyUsage=clientAuth -addext basicConstraints=critical,CA:FALSE",
        host.ip()
    ))?;
    for name in ["ca.pem", "cert.pem", "key.pem", "client.pem", "client-key.pem"] {
        host.write(&format!("/etc/docker/certs/{name}"), std::fs::read(made.path().join(name))?, 0o600)?;
    }
    let at = |name: &str| format!("/etc/docker/certs/{name}");
    Ok(json!({"tlsverify": true, "tlscacert": at("ca.pem"), "tlscert": at("cert.pem"), "tlskey": at("key.pem")}))
}

/// `docker version` over TCP, as the client that has a certificate.
fn with_certificate(host: &HostBox) -> Result<String> {
    let certs = "/etc/docker/certs";
    host.sh(&format!(
        "docker --tlsverify --tlscacert {certs}/ca.pem --tlscert {certs}/client.pem --tlskey {certs}/client-key.pem \
         -H tcp://{}:2376 version --format '{{{{.Server.Version}}}}'",
        host.ip()
    ))
}

#[test]
fn it_sees_the_socket_that_dockerd_serves_without_tls() -> Result<()> {
    let host = HostBox::boot_with(|host| listen_on_tcp(host).map(drop))?;
    host.docker_ready()?;
    let probe = Probe::start([SocketAddr::from((host.ip(), 2376))])?;
    probe.until(|count| count.leaked > 2, SOON)?;
    let count = probe.finish();
    assert!(count.asked > count.leaked, "TLS is not answered here");
    let first = count.first_leak.unwrap_or_default();
    assert!(first.contains("Plain") && first.contains("HTTP/1.1 200 OK"), "{first}");
    Ok(())
}

#[test]
fn it_is_silent_where_a_certificate_is_asked_for_and_sees_the_day_it_is_not() -> Result<()> {
    let host = HostBox::boot_with(|host| {
        host.daemon_json(certificates(host)?)?;
        listen_on_tcp(host).map(drop)
    })?;
    host.docker_ready()?;
    assert_eq!(with_certificate(&host)?, host.docker(&["version", "--format", "{{.Server.Version}}"])?);
    let probe = Probe::start([])?;
    probe.add(SocketAddr::from((host.ip(), 2376)));
    host.restart(&["docker.service"])?;
    probe.until(|count| count.denied > 100, SOON)?;
    host.poweroff()?;
    host.start()?;
    host.docker_ready()?;
    let denied = probe.count().denied;
    let count = probe.until(|count| count.denied > denied + 20, SOON)?;
    assert_eq!(count.leaked, 0, "{:?}", count.first_leak);

    let mut open = certificates(&host)?;
    open["tlsverify"] = json!(false);
    host.daemon_json(open)?;
    host.restart(&["docker.service"])?;
    probe.until(|count| count.leaked > 0, SOON)?;
    let first = probe.finish().first_leak.unwrap_or_default();
    assert!(first.contains("Tls") && first.contains("HTTP/1.1 200 OK"), "{first}");
    Ok(())
}
