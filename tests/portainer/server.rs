//! The server itself: its status and who may ask it for what.

use crate::bed::Bed;

#[tokio::test]
async fn the_status_is_open_to_all_and_names_the_instance() -> anyhow::Result<()> {
    let bed = Bed::new()?;
    let status = bed.api.bare().get("/system/status").await?.is(200).json();
    assert!(!status["InstanceID"].as_str().unwrap().is_empty());
    assert!(!status["Version"].as_str().unwrap().is_empty());
    let old = bed.api.bare().get("/status").await?.is(200).json();
    assert_eq!(old["InstanceID"], status["InstanceID"]);
    bed.tidy().await
}
