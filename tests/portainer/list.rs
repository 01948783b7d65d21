//! Finding environments: which filters hold, and which are silently nothing.

use crate::fixture::{Ca, Fixture};
use serde_json::{Value, json};

/// Names in a list, without what makes them the test's own.
fn names(list: &Value) -> Vec<String> {
    let names = list.as_array().into_iter().flatten().filter_map(|one| one["Name"].as_str()?.rsplit('-').next());
    names.map(str::to_owned).collect()
}

#[tokio::test]
async fn filters_hold_when_they_are_spelled_right() -> anyhow::Result<()> {
    let fixture = Fixture::new()?;
    let ca = Ca::new("a")?;
    let (docker, (files, _)) = (ca.docker()?, ca.client()?);
    let tags = [fixture.tag("mine").await?, fixture.tag("other").await?];
    for (name, tags) in [("one", &tags[..1]), ("two", &tags[..]), ("ONE", &tags[..1])] {
        fixture.created(&fixture.form(name, &docker.url(), &files).field("TagIds", json!(tags))).await?;
    }
    let [mine, other] = tags;
    let list = async |query: &str| fixture.api.get(&format!("/endpoints?tagIds[]={mine}{query}")).await;
    let named = async |query: &str| Ok::<_, anyhow::Error>(names(&list(query).await?.is(200).json()));
    assert_eq!(named("").await?, ["one", "two", "ONE"]);
    assert_eq!(named(&format!("&name={}", fixture.name("one"))).await?, ["one"]);
    assert_eq!(named(&format!("&name={}", fixture.name("on"))).await?, [""; 0]);
    assert_eq!(named(&format!("&search={}", fixture.name("on"))).await?, ["one", "ONE"]);
    assert_eq!(named(&format!("&tagIds[]={other}")).await?, ["two"]);
    assert_eq!(named(&format!("&tagIds[]={other}&tagsPartialMatch=true")).await?, ["one", "two", "ONE"]);
    assert_eq!(named("&types[]=2").await?, [""; 0]);
    assert_eq!(named("&types=2").await?, ["one", "two", "ONE"], "without brackets it is nothing");
    assert_eq!(named("&status[]=2").await?, [""; 0]);
    let page = list("&start=2&limit=1").await?.is(200);
    assert_eq!((names(&page.json()), &page.headers["x-total-count"]), (vec!["two".to_owned()], &"3".parse()?));
    assert!(page.headers.contains_key("x-total-available"));
    list("&types[]=two").await?.refuses(400, "Invalid query parameters");
    Ok(())
}

#[tokio::test]
async fn snapshots_can_be_left_out() -> anyhow::Result<()> {
    let fixture = Fixture::new()?;
    let ca = Ca::new("a")?;
    let (docker, (files, _)) = (ca.docker()?, ca.client()?);
    let id = fixture.created(&fixture.form("host", &docker.url(), &files)).await?;
    let count = async |path: String| {
        let json = fixture.api.get(&path).await?.is(200).json();
        let one = json.get(0).unwrap_or(&json);
        Ok::<_, anyhow::Error>(one["Snapshots"].as_array().map_or(0, Vec::len))
    };
    assert_eq!(count(format!("/endpoints?endpointIds[]={id}")).await?, 1);
    assert_eq!(count(format!("/endpoints?endpointIds[]={id}&excludeSnapshots=true")).await?, 0);
    assert_eq!(count(format!("/endpoints/{id}")).await?, 1);
    assert_eq!(count(format!("/endpoints/{id}?excludeSnapshot=true")).await?, 0);
    Ok(())
}
