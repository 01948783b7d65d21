//! `dockseal renew`: requests new certificates by annotation, and waits for them with `--wait`.

use super::args::RenewArgs;
use super::args::user_commands::Form;
use super::exit::{CliError, Exit};
use super::object_arg::{self, Reference, short};
use super::output::Output;
use super::progress::with_progress;
use super::source::{Source, SourceKind, block_on};
use super::status::report::{ReconcilerKind, StatusReport};
use crate::adapters::Clock;
use crate::api::{Kind, Object, ObjectRef, RENEW_REQUESTED_ANNOTATION};
use k8s_openapi::jiff::Timestamp;
use std::collections::HashMap;
use std::fmt::Write;
use std::process::ExitCode;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Kinds whose certificates are renewed on request. An authority renews itself, with the same key.
const KINDS: [Kind; 3] = [Kind::DockerHostCert, Kind::DockerClientCert, Kind::PortainerClient];
const PAUSE: Duration = Duration::from_millis(300);

pub fn run(args: &RenewArgs) -> anyhow::Result<ExitCode> {
    block_on(async {
        let source = with_progress("the cluster", Source::open(&args.source)).await?;
        let objects = with_progress("the objects", wanted(&source, args)).await?;
        let second = Clock::system().now().as_second();
        if let SourceKind::State(_) = source.place {
            return Err(without_cluster(&objects, &Timestamp::from_second(second)?.to_string()));
        }
        // A request of the second in which the certificate was issued would count as done.
        let next = Timestamp::from_second(second + 1)?.to_string();
        for object in &objects {
            source.annotate(object, RENEW_REQUESTED_ANNOTATION, &next).await?;
        }
        if !args.wait {
            print(args, &objects, "renewal requested")?;
            return Ok(Exit::Done.into());
        }
        let (renewed, waiting) = with_progress("the new certificates", wait(&source, &objects, args.timeout)).await?;
        print(args, &renewed, "renewed")?;
        match waiting.first() {
            None => Ok(Exit::Done.into()),
            Some(first) => Err(CliError::not_ready(format!(
                "{} of {} have no new certificate after {} seconds, for example {}: `dockseal status` says why",
                waiting.len(),
                objects.len(),
                args.timeout.as_secs(),
                first.at
            ))),
        }
    })
}

async fn wanted(source: &Source, args: &RenewArgs) -> anyhow::Result<Vec<Object>> {
    let mut objects = Vec::new();
    if !args.all {
        for word in &args.objects {
            let reference = Reference::parse(word)?;
            if reference.kind == Some(Kind::DockerCA) {
                return Err(CliError::usage(format!(
                    "{word}: an authority renews itself at two thirds of its life, with the same key; renew what it signed"
                )));
            }
            objects.push(source.object(&reference, &KINDS).await?);
        }
        return Ok(objects);
    }
    let kinds = match args.objects.as_slice() {
        [] => KINDS.to_vec(),
        words => {
            let kind = |word: &String| {
                let kind = object_arg::kind(word).filter(|kind| KINDS.contains(kind));
                kind.ok_or_else(|| CliError::usage(format!("{word}: with --all, name dhc, dcc or ptc, or nothing")))
            };
            words.iter().map(kind).collect::<Result<_, _>>()?
        }
    };
    objects = source.objects(&kinds, args.selector.as_ref()).await?;
    if objects.is_empty() {
        return Err(CliError::not_found(format!("there is nothing to renew in {} that fits", source.words())));
    }
    Ok(objects)
}

fn without_cluster(objects: &[Object], now: &str) -> anyhow::Error {
    let names: Vec<String> = objects.iter().map(|object| object.at.to_string()).collect();
    CliError::usage(format!(
        "without a cluster, a renewal is requested in the YAML that `dockseal up` reads: under metadata of {} write \
         annotations: {{{RENEW_REQUESTED_ANNOTATION}: \"{now}\"}}; a running `up` sees it at once",
        names.join(", ")
    ))
}

/// Objects with a new certificate, and those without one when the time is over.
async fn wait(source: &Source, asked: &[Object], patience: Duration) -> anyhow::Result<(Vec<Object>, Vec<Object>)> {
    let before: HashMap<&ObjectRef, &Option<String>> =
        asked.iter().map(|object| (&object.at, &object.previous.fingerprint)).collect();
    let kinds: Vec<Kind> =
        KINDS.into_iter().filter(|kind| asked.iter().any(|object| object.at.kind == *kind)).collect();
    let deadline = Instant::now() + patience;
    loop {
        let mut objects = match asked {
            [one] => vec![source.again(one).await?],
            _ => source.objects(&kinds, None).await?,
        };
        objects.retain(|object| before.contains_key(&object.at));
        let renewed = |object: &Object| {
            let fingerprint = &object.previous.fingerprint;
            fingerprint.is_some() && Some(&fingerprint) != before.get(&object.at)
        };
        let (renewed, waiting): (Vec<_>, Vec<_>) = objects.into_iter().partition(renewed);
        if waiting.is_empty() || Instant::now() >= deadline {
            return Ok((renewed, waiting));
        }
        sleep(PAUSE).await;
    }
}

fn print(args: &RenewArgs, objects: &[Object], what: &str) -> anyhow::Result<()> {
    let report = StatusReport::of(objects, ReconcilerKind::Controller, Clock::system().now());
    let mut text = String::new();
    match args.output {
        Form::Json => text = serde_json::to_string_pretty(&report)? + "\n",
        Form::Yaml => text = serde_saphyr::to_string(&report)?,
        Form::Name => report.objects.iter().for_each(|object| text += &(object.kubectl_name() + "\n")),
        Form::Table | Form::Wide => {
            for object in objects {
                let end = object.previous.not_after.as_ref().filter(|_| args.wait);
                let end = end.map(|end| format!(", until {}", end.0)).unwrap_or_default();
                writeln!(text, "{}/{}: {what}{end}", short(object.at.kind), object.at.name)?;
            }
        }
    }
    Output::standard().print(&text)
}
