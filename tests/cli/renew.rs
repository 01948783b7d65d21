//! `dockseal renew` without a cluster; with one it is in tests/cluster.

use crate::fixture::Fixture;

#[test]
fn without_a_cluster_it_says_what_goes_into_the_yaml() {
    let fixture = Fixture::mixed();
    let ran = fixture.run(&["renew", "ci"]);
    ran.ends(
        2,
        "under metadata of DockerClientCert/default/ci write annotations: {dockseal.dev/renew-requested-at: \"20",
    );
    let (_, rest) = ran.err.split_once("annotations: ").unwrap();
    let annotation = &rest[..=rest.find('}').unwrap()];
    let before = fixture.run(&["status", "ci", "-o", "json"]).out;
    std::thread::sleep(std::time::Duration::from_millis(1100)); // what was asked for in its own second was done
    let again = fixture.run(&["renew", "ci"]);
    let (_, rest) = again.err.split_once("annotations: ").unwrap();
    let annotation = if rest.starts_with(annotation) { annotation } else { &rest[..=rest.find('}').unwrap()] };
    let yaml = std::fs::read_to_string(fixture.path("objects.yaml")).unwrap();
    let wish = format!("metadata: {{name: ci, annotations: {annotation}}}");
    fixture.0.write("objects.yaml", yaml.replace("metadata: {name: ci}", &wish)).unwrap();
    fixture.up();
    let after = fixture.run(&["status", "ci", "-o", "json"]).out;
    assert_ne!(before, after, "what it said to write does it");
}

#[test]
fn what_cannot_be_renewed_is_said() {
    let fixture = Fixture::mixed();
    for (arguments, code, words) in [
        (&["renew"][..], 2, "required"),
        (&["renew", "nope"], 3, "there is no DockerHostCert, DockerClientCert or PortainerClient nope"),
        (
            &["renew", "pandora"],
            2,
            "pandora is not unique (DockerHostCert/default/pandora, DockerHostCert/lab/pandora): name the namespace with -n",
        ),
        (&["renew", "attic"], 2, "name the kind"),
        (&["renew", "dca/homelab"], 2, "an authority renews itself"),
        (&["renew", "homelab"], 3, "there is no DockerHostCert, DockerClientCert or PortainerClient homelab"),
        (&["renew", "--all", "pandora"], 2, "with --all, name dhc, dcc or ptc"),
        (&["renew", "--all", "-l", "site=moon"], 3, "there is nothing to renew in state that fits"),
        (&["renew", "ci", "-l", "site=home"], 2, "--all"),
        (&["renew", "ci", "--timeout", "5s"], 2, "--wait"),
    ] {
        fixture.run(arguments).ends(code, words);
    }
    let all = fixture.run(&["renew", "--all", "dhc", "-l", "site in (home,away)"]);
    all.ends(2, "DockerHostCert/default/attic, DockerHostCert/default/pandora");
}
