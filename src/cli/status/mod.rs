//! `dockseal status`: the state of objects, and what to do.

pub mod render;
pub mod report;

use super::args::StatusArgs;
use super::args::user_commands::Form;
use super::exit::{CliError, Exit};
use super::object_arg::{self, Reference};
use super::output::Output;
use super::progress::with_progress;
use super::source::{Source, SourceKind, block_on};
use crate::adapters::Clock;
use crate::api::{Kind, Object};
pub use report::WORDS;
use report::{ReconcilerKind, StatusReport};
use std::process::ExitCode;

/// The order of the table: the most frequent kind first.
const ORDER: [Kind; 4] = [Kind::DockerHostCert, Kind::DockerCA, Kind::DockerClientCert, Kind::PortainerClient];

/// Prints the state of each object.
pub fn run(args: &StatusArgs) -> anyhow::Result<ExitCode> {
    let output = Output::standard();
    if args.schema {
        output.print(&report::schema())?;
        return Ok(Exit::Done.into());
    }
    let (objects, reconciler, looked_in) = block_on(async {
        let source = with_progress("the cluster", Source::open(&args.source)).await?;
        let reconciler = match source.place {
            SourceKind::Cluster(_) => ReconcilerKind::Controller,
            SourceKind::State(_) => ReconcilerKind::Up,
        };
        let objects = with_progress("the objects", wanted(&source, args)).await?;
        Ok((objects, reconciler, source.words()))
    })?;
    if objects.is_empty() {
        return nothing(args, &looked_in);
    }
    let report = StatusReport::of(&objects, reconciler, Clock::system().now());
    let text = match args.output {
        Form::Table | Form::Wide => render::page(&report, args.output == Form::Wide, &output),
        Form::Json => serde_json::to_string_pretty(&report)? + "\n",
        Form::Yaml => serde_saphyr::to_string(&report)?,
        Form::Name => report.objects.iter().map(|object| object.kubectl_name() + "\n").collect(),
    };
    output.print(&text)?;
    if args.output == Form::Name {
        report.objects.iter().filter_map(render::alarm).for_each(|line| eprintln!("{line}"));
    }
    Ok(if report.ready == report.total { Exit::Done.into() } else { Exit::NotReady.into() })
}

/// No object at all is not an error; none of those that were asked for is one.
fn nothing(args: &StatusArgs, looked_in: &str) -> anyhow::Result<ExitCode> {
    let sentence = format!("there is no object of Dockseal in {looked_in}");
    if args.selector.is_some() || !args.objects.is_empty() {
        return Err(CliError::not_found(format!("{sentence} that fits: `dockseal status -A` shows what is there")));
    }
    if args.output == Form::Json || args.output == Form::Yaml {
        let report = StatusReport::of(&[], ReconcilerKind::Controller, Clock::system().now());
        let json = args.output == Form::Json;
        let text = if json { serde_json::to_string_pretty(&report)? + "\n" } else { serde_saphyr::to_string(&report)? };
        Output::standard().print(&text)?;
    }
    eprintln!("{sentence}: the first five minutes are in README, `kubectl apply -f examples/homelab.yaml`");
    Ok(Exit::Done.into())
}

/// The objects that the arguments name, in the page's order.
async fn wanted(source: &Source, args: &StatusArgs) -> anyhow::Result<Vec<Object>> {
    let (mut kinds, mut references) = (Vec::new(), Vec::new());
    for word in &args.objects {
        match object_arg::kind(word) {
            Some(kind) => kinds.push(kind),
            None => references.push(Reference::parse(word)?),
        }
    }
    let asked = |kind: &Kind| {
        args.objects.is_empty()
            || kinds.contains(kind)
            || references.iter().any(|reference| reference.kind.is_none_or(|named| named == *kind))
    };
    let listed: Vec<Kind> = ORDER.into_iter().filter(asked).collect();
    let mut objects = source.objects(&listed, args.selector.as_ref()).await?;
    for reference in &references {
        if !objects.iter().any(|object| reference.means(object)) {
            return Err(reference.missing(&reference.kinds(&Kind::ALL)?, &source.words()));
        }
    }
    let named = |object: &Object| references.iter().any(|reference| reference.means(object));
    objects.retain(|object| args.objects.is_empty() || kinds.contains(&object.at.kind) || named(object));
    objects.sort_by_key(|object| ORDER.iter().position(|kind| *kind == object.at.kind));
    Ok(objects)
}
