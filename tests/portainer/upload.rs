//! Uploads: any bytes, into any folder, and nobody looks at them.

use crate::api::Form;
use crate::fixture::Fixture;
use serde_json::json;

#[tokio::test]
async fn an_upload_looks_at_its_form_and_not_at_the_file() -> anyhow::Result<()> {
    let fixture = Fixture::new()?;
    let dir = fixture.name("folder");
    let garbage = Form::default().field("folder", &dir).file("file", "garbage");
    fixture.api.form("/upload/tls/ca", &garbage).await?.is(204);
    fixture.api.form("/upload/tls/chain", &garbage).await?.is(404);
    fixture.api.form("/upload/tls/ca", &garbage.clone().without("folder")).await?.is(400);
    fixture.api.form(&format!("/upload/tls/ca?folder={dir}"), &garbage.clone().without("folder")).await?.is(204);
    fixture.api.form("/upload/tls/ca", &garbage.without("file")).await?.is(400);
    fixture.api.post("/upload/tls/ca", &json!({})).await?.is(400);
    let said = fixture.api.post(&format!("/upload/tls/ca?folder={dir}"), &json!({})).await?;
    said.refuses(400, "equest Content-Type isn't multipart/form-data");
    let outside = Form::default().field("folder", "../../outside").file("file", "garbage");
    fixture.api.form("/upload/tls/key", &outside).await?.is(204);
    if let Some(portainer) = &fixture.stand_in {
        assert_eq!(portainer.tls_key_dirs(), ["outside"], "it stays below its own directory");
    }
    Ok(())
}
