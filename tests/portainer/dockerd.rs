//! The same with a real dockerd, so that nobody takes the stand-in's word for what Docker does.

use crate::fixture::{Ca, Files, Fixture};
use crate::support::docker_like::Material;
use crate::support::dockerd::Dockerd;
use crate::support::ports;
use crate::support::scratch::Scratch;

fn serve(port: u16, material: &Material) -> anyhow::Result<Dockerd> {
    let scratch = Scratch::new("material")?;
    let chain = scratch.write("cert.pem", &material.chain)?;
    let key = scratch.write("key.pem", &material.key)?;
    Dockerd::start_on(port, &chain, &key, &scratch.write("ca.pem", &material.clients)?)
}

#[tokio::test]
async fn a_real_docker_is_registered_refused_to_strangers_and_follows_a_rotation() -> anyhow::Result<()> {
    let fixture = Fixture::new()?;
    let (a, b, port) = (Ca::new("a")?, Ca::new("b")?, ports::free()?);
    let url = format!("tcp://127.0.0.1:{port}");
    let docker = serve(port, &a.host(&a.pem())?)?;
    let stranger = Files { ca: a.pem(), ..Ca::new("a")?.client()?.0 };
    fixture.create(&fixture.form("never", &url, &stranger)).await?.refuses(500, "client authentication");
    let id = fixture.created(&fixture.form("host", &url, &a.client()?.0)).await?;
    let version = fixture.api.get(&format!("/endpoints/{id}/docker/version")).await?.is(200).json();
    let snapshot = fixture.api.get(&format!("/endpoints/{id}")).await?.is(200).json();
    assert_eq!(snapshot["Snapshots"][0]["DockerVersion"], version["Version"]);
    drop(docker);
    assert_eq!(fixture.ping(id).await?, 502);
    let _docker = serve(port, &b.host(&b.pem())?)?;
    assert_eq!(fixture.ping(id).await?, 502);
    fixture.upload(id, &b.client()?.0).await?;
    fixture.put_tls(id, &url).await?.is(200);
    assert_eq!(fixture.ping(id).await?, 200);
    let missing = fixture.api.get(&format!("/endpoints/{id}/docker/containers/none/json")).await?;
    missing.refuses(404, "No such container");
    Ok(())
}
