//! Creating environments: what it wants, what it answers, and what it leaves behind.

use crate::bed::{Bed, Ca};

#[tokio::test]
async fn an_environment_is_created_with_files_that_only_the_server_sees() -> anyhow::Result<()> {
    let bed = Bed::new()?;
    let ca = Ca::new("a")?;
    let docker = ca.docker()?;
    let (files, serial) = ca.client()?;
    let said = bed.create(&bed.form("host", &docker.url(), &files)).await?.is(200);
    let json = said.json();
    assert_eq!((&json["Type"], &json["Status"], &json["GroupId"]), (&1.into(), &1.into(), &1.into()));
    assert_eq!(json["URL"], docker.url());
    let id = json["Id"].as_u64().unwrap();
    for (name, file) in [("TLSCACert", "ca"), ("TLSCert", "cert"), ("TLSKey", "key")] {
        let path = json["TLSConfig"][name].as_str().unwrap();
        assert!(path.ends_with(&format!("/tls/{id}/{file}.pem")), "{path}");
    }
    assert!(!said.text().contains("BEGIN"));
    assert_eq!(bed.ping(id).await?, 200);
    assert_eq!(docker.last_serial(), Some(serial));
    bed.tidy().await
}
