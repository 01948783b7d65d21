//! The companion on a real API server with the chart's policies: as a pod, through bad days, and outside.

mod fixture;

use crate::fixture::{find, is};
use crate::support::companion::Companion;
use crate::support::dockerd::Dockerd;
use crate::support::faults::{Action, Fault, FaultProxy};
use crate::support::ports;
use anyhow::{Context, ensure};
use dockseal::adapters::Clock;
use dockseal::companion::credentials::Account;
use dockseal::companion::{self, CompanionSettings};
use fixture::{ChangedBy, HostFixture, OBJECT};
use k8s_openapi::jiff::SignedDuration;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_pod_delivers_renews_and_puts_right_what_others_change() -> anyhow::Result<()> {
    let home = HostFixture::new("pod", ChangedBy::Node, "mode: Files").await?;
    let companion = home.pod().await?;
    let told = || companion.log();
    home.refused("SecretMissing").await.with_context(told)?;
    let first = home.renew().await?;
    let took = home.delivered(&first).await.with_context(told)?;
    let object = home.reported(&first.0).await.with_context(told)?;
    ensure!(is(&object, "Delivered", "True"), "{:#}", object["status"]);
    let host = &object["status"]["host"];
    ensure!(host["deliveredAt"].is_string() && host["deliveredBundle"].is_string(), "{host:#}");
    let managers = home.namespace.kubectl(&["get", "dhc", "pandora", "--show-managed-fields", "-o", "json"]).await?;
    ensure!(managers.contains("\"dockseal-companion\""), "{managers}");

    let mut renewals = vec![took];
    for _ in 0..5 {
        renewals.push(home.delivered(&home.renew().await?).await.with_context(told)?);
    }
    println!("from the Secret's change to files in place: {renewals:?}");
    renewals.sort();
    ensure!(renewals[renewals.len() / 2] < SECOND, "a renewal takes {renewals:?}");

    put_right(&home).await.with_context(told)?;
    still(&home, &companion).await.with_context(told)?;
    started_again(&home, companion).await
}

/// Files that are edited, removed or linked elsewhere are as before within seconds.
async fn put_right(home: &HostFixture) -> anyhow::Result<()> {
    let good = |name: &str| std::fs::read(home.file(name));
    let before = ["pandora.pem", "pandora.key"].map(|name| (name, good(name).unwrap_or_default()));
    // Behind the bundle comes the companion's own, made anew with each generation.
    let trusts = |bytes: Vec<u8>| bytes.starts_with(home.bundle().as_bytes());
    let whole = || {
        before.iter().all(|(name, bytes)| good(name).is_ok_and(|now| now == *bytes)) && good("ca.pem").is_ok_and(trusts)
    };
    ensure!(whole(), "the files are not there");
    type Harm = (&'static str, fn(&HostFixture) -> std::io::Result<()>);
    let harms: [Harm; 6] = [
        ("a name is removed", |home| std::fs::remove_file(home.file("pandora.pem"))),
        ("a file is edited through its name", |home| std::fs::write(home.file("ca.pem"), "mine")),
        ("a name is another file", |home| {
            std::fs::remove_file(home.file("pandora.key"))?;
            std::fs::write(home.file("pandora.key"), "mine")
        }),
        ("the current generation is removed", |home| removed(home, ".dockseal/current")),
        ("all of ours is removed", |home| removed(home, ".dockseal")),
        ("the directory is removed", |home| removed(home, "")),
    ];
    for (words, harm) in harms {
        harm(home).context(words)?;
        let since = Instant::now();
        home.until(whole, words).await?;
        println!("{words}: put right after {:?}", since.elapsed());
    }
    Ok(())
}

/// Removes a directory of the host's, however often the companion, which may still be at work on the harm before, puts
/// something into it meanwhile.
fn removed(home: &HostFixture, name: &str) -> std::io::Result<()> {
    let deadline = Instant::now() + crate::fixture::SOON;
    loop {
        let done = std::fs::canonicalize(home.file(name)).and_then(std::fs::remove_dir_all);
        if done.is_ok() || Instant::now() > deadline {
            return done;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Nothing changes: it comes to rest, and does nothing.
async fn still(home: &HostFixture, companion: &Companion) -> anyhow::Result<()> {
    let mut spans = Vec::new();
    for _ in 0..3 {
        let (version, busy) = (home.version().await?, companion.processor_time()?);
        tokio::time::sleep(10 * SECOND).await;
        spans.push((companion.processor_time()? - busy, home.version().await? != version));
        if matches!(spans.last(), Some((busy, false)) if *busy <= Duration::from_millis(20)) {
            println!("processor time in ten seconds, and whether it wrote, until it was at rest: {spans:?}");
            return Ok(());
        }
    }
    anyhow::bail!("nothing changes, and in ten seconds each it worked, and wrote: {spans:?}")
}

/// A companion that starts over what is there writes nothing, neither here nor there.
async fn started_again(home: &HostFixture, before: Companion) -> anyhow::Result<()> {
    drop(before);
    let renewed = home.renew().await?;
    let companion = home.pod().await?;
    home.delivered(&renewed).await.with_context(|| companion.log())?;
    home.reported(&renewed.0).await.with_context(|| companion.log())?;
    drop(companion);
    let inode = |path: &Path| std::os::unix::fs::MetadataExt::ino(&path.metadata().expect("it is there"));
    let (version, files) = (home.version().await?, inode(&home.file("pandora.pem")));
    let companion = home.pod().await?;
    std::fs::remove_file(home.file("ca.pem"))?;
    home.until(|| home.file("ca.pem").exists(), "it does not work").await?;
    tokio::time::sleep(2 * SECOND).await;
    ensure!(inode(&home.file("pandora.pem")) == files, "it delivered again:\n{}", companion.log());
    ensure!(home.version().await? == version, "it reported again:\n{}", companion.log());
    Ok(())
}

/// A companion whose every request a test sees.
struct ObservedCompanion {
    home: HostFixture,
    proxy: FaultProxy,
    companion: Companion,
}

impl ObservedCompanion {
    async fn new(name: &str) -> anyhow::Result<ObservedCompanion> {
        let home = HostFixture::new(name, ChangedBy::Node, "mode: Files").await?;
        let proxy = FaultProxy::start_as(home.cluster(), &home.pod_token().await?)?;
        let kubeconfig = home.cluster().kubeconfig_through(proxy.url())?;
        let companion = home.companion(&kubeconfig, &[&home.namespace.name], &[])?;
        let seen = ObservedCompanion { home, proxy, companion };
        seen.renewed().await?;
        Ok(seen)
    }

    /// A renewal arrives and is reported.
    async fn renewed(&self) -> anyhow::Result<()> {
        let renewed = self.home.renew().await?;
        self.home.delivered(&renewed).await.with_context(|| self.companion.log())?;
        self.home.reported(&renewed.0).await.with_context(|| self.companion.log())?;
        Ok(())
    }

    /// It looks again, though there is nothing to do.
    async fn looked_again(&self) -> anyhow::Result<()> {
        self.home.poke().await.with_context(|| self.companion.log())
    }

    fn reports(&self) -> Vec<String> {
        self.proxy
            .writes()
            .into_iter()
            .filter(|entry| entry.path.ends_with("/status"))
            .map(|entry| entry.body)
            .collect()
    }
}

#[tokio::test]
async fn it_reports_what_changed_and_nothing_else() -> anyhow::Result<()> {
    let seen = ObservedCompanion::new("report").await?;
    seen.looked_again().await?;
    let reports = seen.reports();
    ensure!(reports.windows(2).all(|pair| pair[0] != pair[1]), "told twice: {reports:#?}");
    let asked = seen.proxy.log().len();
    for _ in 0..3 {
        seen.looked_again().await?;
    }
    ensure!(seen.proxy.log().len() == asked, "looks ask the API server: {:#?}", &seen.proxy.log()[asked..]);
    seen.renewed().await?;
    ensure!(seen.reports().len() == reports.len() + 1, "a renewal is one report");
    // A report that another client changed is put right with the next change.
    let others = seen.proxy.writes().into_iter().filter(|entry| !entry.path.ends_with("/status"));
    ensure!(others.clone().all(|entry| entry.path.ends_with("/token")), "it wrote {:#?}", others.collect::<Vec<_>>());
    ensure!(!seen.companion.log().contains("eyJ"), "a token is in the log");
    Ok(())
}

#[tokio::test]
async fn it_refuses_what_is_not_listed_for_it_whatever_it_is_told() -> anyhow::Result<()> {
    let home = HostFixture::new("listed", ChangedBy::Node, "mode: Files").await?;
    home.renew().await?;
    let proxy = FaultProxy::start_as(home.cluster(), &home.pod_token().await?)?;
    let kubeconfig = home.cluster().kubeconfig_through(proxy.url())?;
    // Its namespace.
    let other = home.companion(&kubeconfig, &["elsewhere"], &[])?;
    let why = home.refused("NotListed").await.with_context(|| other.log())?;
    ensure!(why.contains("namespace listed") && !home.directory.exists(), "{why}");
    drop(other);
    // A directory.
    let companion = home.companion(&kubeconfig, &["listed"], &[])?;
    let told = || companion.log();
    home.delivered(&home.renew().await?).await.with_context(told)?;
    for outside in ["/etc/dockseal-outside", "/tmp/dockseal-outside", "/etc/docker/certs/../../outside"] {
        home.assign(&json!({"delivery": {"directory": outside}})).await?;
        let fits = |object: &Value| {
            find(object, "Delivered")
                .is_some_and(|found| found["status"] == "False" && found["message"].to_string().contains(outside))
        };
        home.namespace.until(OBJECT, fits).await.with_context(told)?;
        ensure!(!Path::new(outside).exists(), "{outside} was made");
    }
    // Files of others.
    let theirs = home.directory.with_file_name("theirs");
    std::fs::create_dir(&theirs)?;
    std::fs::write(theirs.join("ca.pem"), "theirs")?;
    home.assign(&json!({"delivery": {"directory": theirs}})).await?;
    let why = home.refused("FileConflict").await.with_context(told)?;
    ensure!(why.contains("ca.pem") && std::fs::read(theirs.join("ca.pem"))? == b"theirs", "{why}");
    // An assignment that cannot be read changes nothing, and one that goes takes nothing away.
    home.assign(&json!({})).await?;
    home.namespace.until(OBJECT, |object| is(object, "Delivered", "True")).await.with_context(told)?;
    home.assignment(&json!({"hosts": 1})).await?;
    companion.says("failed to read the assignment").await?;
    home.delivered(&home.renew().await?).await.with_context(told)?;
    home.assignment(&json!({"hosts": []})).await?;
    companion.says("it is no longer delivered here; what is there stays").await?;
    ensure!(home.in_place().is_some(), "the files are gone");
    home.assign(&json!({})).await?;
    home.delivered(&home.renew().await?).await.with_context(told).map(drop)
}

#[tokio::test]
async fn without_the_api_server_it_keeps_what_it_has_and_catches_up() -> anyhow::Result<()> {
    let seen = ObservedCompanion::new("away").await?;
    let status = |code| Action::Status { code, retry_after: None };
    let days = [
        ("connections are closed", Action::Refuse),
        ("it hangs", Action::HoldRequest(20 * SECOND)),
        ("401", status(401)),
        ("403", status(403)),
        ("500", status(500)),
    ];
    for (words, action) in days {
        let fault = seen.proxy.inject(Fault::new(action).always());
        seen.proxy.cut_watches("");
        let renewed = seen.home.renew().await?;
        seen.looked_again().await.context(words)?;
        fault.reached(2, crate::fixture::SOON).await.context(words)?;
        ensure!(seen.home.in_place().as_ref() != Some(&renewed.0), "{words}: the fault is none");
        seen.looked_again().await.context(words)?;
        seen.proxy.heal();
        drop(fault);
        let took = seen.home.delivered(&(renewed.0.clone(), Instant::now())).await;
        println!("{words}: caught up {:?} after it", took.with_context(|| seen.companion.log()).context(words)?);
        seen.home.reported(&renewed.0).await.context(words)?;
    }
    Ok(())
}

#[tokio::test]
async fn tokens_are_renewed_in_time_by_whatever_the_clock_shows() -> anyhow::Result<()> {
    let home = HostFixture::new("clock", ChangedBy::Node, "mode: Files").await?;
    let proxy = FaultProxy::start_as(home.cluster(), &home.pod_token().await?)?;
    let kubeconfig = Kubeconfig::read_from(home.cluster().kubeconfig_through(proxy.url())?)?;
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    let shift = Arc::new(AtomicI64::new(0));
    let shown = Arc::clone(&shift);
    let clock = Clock::showing(move || {
        let now = Clock::system().now();
        now.checked_add(SignedDuration::from_secs(shown.load(Ordering::SeqCst))).unwrap_or(now)
    });
    let settings = CompanionSettings {
        account: Account::Node { config, namespace: fixture::COMPANIONS.into(), node: "clock".into() },
        sources: vec!["clock".into()],
        directories: vec![home.directory.clone()],
        contained: false,
        address: None,
        once: false,
    };
    let running = tokio::spawn(companion::run(settings, clock, std::future::pending()));
    home.delivered(&home.renew().await?).await?;
    let mints = || proxy.count(|entry| entry.path.ends_with("/token") && entry.answer == Some(201));
    let mut expected = 1;
    // From the first token on: nineteen minutes, twenty-one, a night's sleep, and a clock that was set right again.
    let minutes = |minutes: i64| minutes * 60;
    for (at, minted) in [(minutes(19), 0), (minutes(21), 1), (minutes(12 * 60), 1), (0, 0)] {
        shift.store(at, Ordering::SeqCst);
        expected += minted;
        home.poke().await?;
        let words = || format!("{} tokens instead of {expected} at {at} s", mints());
        home.until(|| mints() == expected, "the tokens are not as expected").await.with_context(words)?;
        home.delivered(&home.renew().await?).await?;
        ensure!(mints() == expected, "{}", words());
    }
    // A token that the server refuses is replaced at once.
    let fault = proxy.inject(Fault::status(401).watches());
    proxy.cut_watches("/secrets");
    fault.reached(1, crate::fixture::SOON).await?;
    home.delivered(&home.renew().await?).await?;
    ensure!(mints() == expected + 1, "{} tokens", mints());
    running.abort();
    Ok(())
}

#[tokio::test]
async fn why_a_node_gets_no_token_is_said() -> anyhow::Result<()> {
    let home = HostFixture::new("untold", ChangedBy::Node, "mode: Files").await?;
    let (cluster, clock) = (home.cluster(), Clock::system());
    let by = async |token: &str, node: &str| -> anyhow::Result<Result<(), String>> {
        let kubeconfig = Kubeconfig::read_from(cluster.kubeconfig_with_token("untold", token)?)?;
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        let account = Account::Node { config, namespace: fixture::COMPANIONS.into(), node: node.into() };
        Ok(account.token(false, &clock).await.map(drop))
    };
    let pod = home.pod_token().await?;
    let kubectl = async |words: &str| cluster.kubectl(&words.split(' ').collect::<Vec<_>>()).await;
    let until = async |token: &str, node: &str, words: &str| -> anyhow::Result<()> {
        let deadline = Instant::now() + crate::fixture::SOON;
        loop {
            let said = by(token, node).await?;
            match &said {
                Err(why) if why.contains(words) => return Ok(()),
                _ => ensure!(Instant::now() < deadline, "not {words:?}: {said:?}"),
            }
            tokio::time::sleep(SECOND / 5).await;
        }
    };
    ensure!(by(&pod, "untold").await? == Ok(()));
    until("wrong", "untold", "does not accept this pod's own token").await?;
    until(&pod, "elsewhere", "no account until a DockerHostCert names it").await?;
    let companions = fixture::COMPANIONS;
    kubectl(&format!("-n {companions} create role elsewhere --verb=create --resource=serviceaccounts/token")).await?;
    let whom = format!("--role=elsewhere --serviceaccount={companions}:dockseal-companion");
    kubectl(&format!("-n {companions} create rolebinding elsewhere {whom}")).await?;
    until(&pod, "elsewhere", "is missing").await?;
    kubectl(&format!("-n {companions} create serviceaccount node-elsewhere")).await?;
    until(&pod, "elsewhere", "may mint tokens of the account node-untold only").await?;
    kubectl(&format!("-n {companions} delete rolebinding elsewhere")).await?;
    kubectl("delete node untold").await?;
    until(&pod, "untold", "the cluster has no Node untold").await
}

#[tokio::test]
async fn an_enrolled_host_renews_its_own_token_and_says_what_to_do_where_it_cannot() -> anyhow::Result<()> {
    let home = HostFixture::new("enrolled", ChangedBy::Host, "mode: Files").await?;
    let minted = home.host_token().await?;
    let kubeconfig = Kubeconfig::read_from(home.cluster().kubeconfig_with_token("enrolled", &minted)?)?;
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    let mut nowhere = config.clone();
    nowhere.cluster_url = format!("https://127.0.0.1:{}", ports::free()?).parse()?;
    let file = home.directory.with_file_name("token.json");
    let at = |config: &kube::Config| Account::Host {
        config: config.clone(),
        namespace: fixture::COMPANIONS.into(),
        name: home.account.clone(),
        token: file.clone(),
    };
    let clock = Clock::system();
    let hours = |hours: i64| clock.now().checked_add(SignedDuration::from_hours(hours)).unwrap_or_default();
    let keep = |token: &str, expires: i64, renew_at: i64| -> anyhow::Result<()> {
        std::fs::create_dir_all(file.parent().context("a file is in a directory")?)?;
        let kept = json!({"token": token, "expires": hours(expires), "renew_at": hours(renew_at)});
        Ok(std::fs::write(&file, kept.to_string())?)
    };
    let token = async |config: &kube::Config, refused: bool| at(config).token(refused, &clock).await;
    let said =
        |token: Result<dockseal::adapters::kube::token::Token, String>| token.map(|token| token.text.to_string());

    keep(&minted, 2, 1)?;
    ensure!(said(token(&config, false).await) == Ok(minted.clone()), "a token that is good is used");
    for (refused, renew_at) in [(true, 1), (false, -1)] {
        keep(&minted, 2, renew_at)?;
        let next = token(&config, refused).await.map_err(anyhow::Error::msg)?;
        ensure!(*next.text != minted && next.renew_at > hours(9 * 24) && next.expires > hours(29 * 24), "{next:?}");
        ensure!(std::fs::read_to_string(&file)?.contains(next.text.as_str()), "the new one is not kept");
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file)?.permissions());
        ensure!(mode & 0o777 == 0o600, "others can read it: {mode:o}");
    }
    keep(&minted, 2, -1)?;
    ensure!(said(token(&nowhere, false).await) == Ok(minted.clone()), "what is good for a while yet is used");
    keep(&minted, -1, -2)?;
    let why = said(token(&nowhere, false).await).expect_err("nobody is there");
    ensure!(why.contains("failed to renew the token of this host"), "{why}");
    home.cluster().kubectl(&["-n", fixture::COMPANIONS, "delete", "serviceaccount", &home.account]).await?;
    let deadline = Instant::now() + crate::fixture::SOON;
    for (expires, words) in [(2, "this host is no longer enrolled"), (-1, "the token of this host expired at")] {
        keep(&minted, expires, -2)?;
        loop {
            let answer = said(token(&config, true).await);
            if answer.as_ref().is_err_and(|why| why.contains(words) && why.contains("dockseal enroll again")) {
                break;
            }
            ensure!(Instant::now() < deadline, "not {words:?}: {answer:?}");
            tokio::time::sleep(SECOND / 5).await;
            keep(&minted, expires, -2)?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn once_says_by_its_exit_code_whether_everything_is_delivered() -> anyhow::Result<()> {
    let home = HostFixture::new("once", ChangedBy::Node, "mode: Files").await?;
    let proxy = FaultProxy::start_as(home.cluster(), &home.pod_token().await?)?;
    let kubeconfig = home.cluster().kubeconfig_through(proxy.url())?;
    let once = async |code: i32, words: &str| -> anyhow::Result<()> {
        let mut companion = home.companion(&kubeconfig, &["once"], &["--once"])?;
        let status = companion.end().await?;
        ensure!(status.code() == Some(code), "{status} instead of {code}; its log:\n{}", companion.log());
        ensure!(companion.log().contains(words), "it does not say {words:?}:\n{}", companion.log());
        Ok(())
    };
    once(4, "is not there yet").await?;
    let renewed = home.renew().await?;
    once(0, "holds the certificate").await?;
    ensure!(home.in_place() == Some(renewed.0.clone()));
    ensure!(home.namespace.get(OBJECT).await?["status"]["host"]["deliveredFingerprint"] == renewed.0.as_str());
    once(0, "").await?;
    home.assignment(&json!({"hosts": []})).await?;
    once(4, "nothing to deliver").await?;
    drop(proxy);
    once(4, "what is delivered stays").await
}

#[tokio::test]
async fn what_was_delivered_goes_with_the_object_but_not_from_under_dockerd() -> anyhow::Result<()> {
    let seen = ObservedCompanion::new("going").await?;
    let [ca, cert, key] = ["ca.pem", "pandora.pem", "pandora.key"].map(|name| seen.home.file(name));
    let port = ports::free()?;
    let dockerd = Dockerd::start_on(port, &cert, &key, &ca)?;
    seen.home.assign(&json!({"removing": true, "port": port})).await?;
    let fits = |object: &Value| find(object, "Delivered").is_some_and(|found| found["reason"] == "InUse");
    let object = seen.home.namespace.until(OBJECT, fits).await.with_context(|| seen.companion.log())?;
    let message = find(&object, "Delivered").map(|found| found["message"].to_string()).unwrap_or_default();
    ensure!(message.contains("dockerd serves it") && message.contains("then they are removed"), "{message}");
    ensure!(seen.home.in_place().is_some(), "the files are gone");
    drop(dockerd);
    seen.home.poke().await?;
    seen.home.refused("Removed").await.with_context(|| seen.companion.log())?;
    let left: Vec<_> = std::fs::read_dir(&seen.home.directory)?.flatten().map(|entry| entry.file_name()).collect();
    ensure!(left.iter().all(|name| name == "poke"), "still there: {left:?}");
    Ok(())
}
