//! The report as a table: a line for each object, cut or wrapped to the terminal. It reads no cluster.

use super::report::{Mark, ObjectReport, StatusReport};
use crate::adapters::terminal::printable;
use crate::api::Kind;
use crate::cli::object_arg::short;
use crate::cli::output::{Colour, Output};
use k8s_openapi::jiff::tz::TimeZone;

/// Columns that the last one needs at least; where the terminal has not as many left, it goes below its line.
const LEAST: usize = 36;
/// How far what goes below is moved in.
const INDENT: usize = 4;

/// One cell, and how it is coloured.
type Cell = (String, Option<Colour>);

/// How much room there is for a row.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Room {
    Wide,
    Enough,
    Narrow,
}

pub fn page(report: &StatusReport, wide: bool, output: &Output) -> String {
    let mut text = output.coloured(&header(report), (report.ready == report.total).then_some(Colour::Green)) + "\n";
    for alarm in report.objects.iter().filter_map(alarm) {
        for line in wrapped(&alarm, output.columns.unwrap_or(usize::MAX)) {
            text += &(output.coloured(&line, Some(Colour::Alarm)) + "\n");
        }
    }
    text.push('\n');
    let mut objects: Vec<&ObjectReport> = report.objects.iter().collect();
    // What is not Ready comes first among its kind; the report is sorted by kind already.
    let order: Vec<&str> = report.objects.iter().map(|object| object.kind.as_str()).collect();
    objects.sort_by_key(|object| (order.iter().position(|kind| *kind == object.kind), object.ready && !object.overdue));
    let table = Table::of(&objects, if wide { Room::Wide } else { Room::Enough });
    let fits = wide || output.columns.is_none_or(|columns| table.width() <= columns + 2);
    text + &if fits { table } else { Table::of(&objects, Room::Narrow) }.print(output, wide)
}

/// Rows of cells, each with what is wrong.
struct Table {
    rows: Vec<(Vec<Cell>, String)>,
    widths: Vec<usize>,
}

impl Table {
    fn of(objects: &[&ObjectReport], room: Room) -> Table {
        let spaces = room == Room::Wide || objects.iter().any(|object| object.namespace != objects[0].namespace);
        let head: Vec<Cell> = heads(spaces, room).into_iter().map(|head| (head.to_owned(), None)).collect();
        let rows = objects.iter().map(|object| (cells(object, spaces, room), what(object)));
        let rows: Vec<_> = std::iter::once((head, "WHAT".to_owned())).chain(rows).collect();
        let mut widths = vec![0; rows[0].0.len()];
        for (cells, _) in &rows {
            for (width, (cell, _)) in widths.iter_mut().zip(cells) {
                *width = (*width).max(cell.chars().count());
            }
        }
        Table { rows, widths }
    }

    /// With the gap behind each column.
    fn width(&self) -> usize {
        self.widths.iter().map(|width| width + 2).sum()
    }

    fn print(&self, output: &Output, wide: bool) -> String {
        let columns = output.columns.filter(|_| !wide);
        self.rows.iter().enumerate().map(|(index, row)| self.line(row, index == 0, columns, output)).collect()
    }

    /// One row: its cells, and what is wrong beside them, or below where the terminal is narrow.
    fn line(&self, (cells, what): &(Vec<Cell>, String), head: bool, columns: Option<usize>, output: &Output) -> String {
        let mut line = String::new();
        let mut left = columns.unwrap_or(usize::MAX);
        for ((cell, colour), width) in cells.iter().zip(&self.widths) {
            let cut: String = cell.chars().take(left).collect();
            line += &output.coloured(&cut, *colour);
            line += &" ".repeat((width + 2).min(left) - cut.chars().count());
            left = left.saturating_sub(width + 2);
        }
        let Some(columns) = columns else { return format!("{line}{what}").trim_end().to_owned() + "\n" };
        if what.is_empty() || (head && left < what.len()) {
            return line.trim_end().to_owned() + "\n";
        }
        let beside = head || left >= LEAST;
        let (indent, room) =
            if beside { (columns - left, left) } else { (INDENT, columns.saturating_sub(INDENT).max(1)) };
        let parts = wrapped(what, room).join(&format!("\n{}", " ".repeat(indent)));
        match beside {
            true => line + &parts + "\n",
            false => format!("{}\n{}{parts}\n", line.trim_end(), " ".repeat(indent)),
        }
    }
}

fn header(report: &StatusReport) -> String {
    match (report.ready, report.total) {
        (1, 1) => "1 object, and it is Ready".into(),
        (ready, total) if ready == total => format!("all {total} objects are Ready"),
        (ready, total) => format!("{ready} of {total} objects are Ready"),
    }
}

/// The line about a certificate that was not renewed in time, whatever its conditions are.
pub fn alarm(object: &ObjectReport) -> Option<String> {
    let end = object.expires.as_ref().filter(|_| object.overdue)?;
    let ends = if object.days_left.is_some_and(|days| days < 0) { "ENDED" } else { "ENDS" };
    let due = object.renew_at.as_ref().map(|at| format!(", due since {}", day(at.0))).unwrap_or_default();
    Some(format!(
        "!! {}/{}: THE CERTIFICATE {ends} {} ({}) AND WAS NOT RENEWED{due}: see its line",
        short_kind(object),
        printable(&object.name),
        day(end.0),
        left(object),
    ))
}

fn heads(spaces: bool, room: Room) -> Vec<&'static str> {
    let mut heads = if spaces { vec!["NAMESPACE"] } else { Vec::new() };
    heads.push("NAME");
    heads.extend(match room {
        Room::Narrow => ["ISS", "DEL", "SRV", "REG"],
        _ => ["ISSUED", "DELIVERED", "SERVED", "REGISTERED"],
    });
    heads.push("EXPIRES");
    heads.extend(if room == Room::Wide { &["RENEWS", "SERIAL", "FINGERPRINT", "ENVIRONMENTS"][..] } else { &[] });
    heads
}

fn cells(object: &ObjectReport, spaces: bool, room: Room) -> Vec<Cell> {
    let plain = |text: String| (text, None);
    let mut cells = if spaces { vec![plain(printable(&object.namespace))] } else { Vec::new() };
    cells.push(plain(format!("{}/{}", short_kind(object), printable(&object.name))));
    cells.extend([object.issued, object.delivered, object.served].map(word));
    let registered = word(object.registered);
    cells.push(match (object.selected_hosts, object.registered_hosts) {
        (Some(selected), done) => (format!("{}/{selected}", done.unwrap_or_default()), registered.1),
        _ => registered,
    });
    cells.push(expires(object, room));
    if room == Room::Wide {
        let text = |text: &Option<String>| plain(text.as_deref().map_or("-".into(), printable));
        cells.push(plain(object.renew_at.as_ref().map_or("-".into(), |at| day(at.0))));
        cells.extend([text(&object.serial), text(&object.fingerprint)]);
        let ids = object.environments.iter().map(|environment| {
            let id = environment.id.map_or("-".into(), |id| id.to_string());
            format!("{}:{id}", printable(&environment.portainer_client))
        });
        let ids: Vec<String> = ids.collect();
        cells.push(plain(if ids.is_empty() { "-".into() } else { ids.join(",") }));
    }
    cells
}

fn expires(object: &ObjectReport, room: Room) -> Cell {
    let Some(end) = &object.expires else { return ("-".into(), None) };
    let mut text = left(object);
    if room != Room::Narrow {
        text = format!("{} {text}", day(end.0));
    }
    match object.overdue {
        true => (text + " !!", Some(Colour::Alarm)),
        false => (text, None),
    }
}

fn short_kind(object: &ObjectReport) -> &'static str {
    Kind::parse(&object.kind).map_or("object", short)
}

fn word(mark: Mark) -> Cell {
    match mark {
        Mark::Yes => ("yes".into(), Some(Colour::Green)),
        Mark::No => ("no".into(), Some(Colour::Red)),
        Mark::NotWanted => ("-".into(), None),
    }
}

fn what(object: &ObjectReport) -> String {
    match (&object.reason, &object.message) {
        (Some(reason), Some(message)) if !message.is_empty() => printable(&format!("{reason}: {message}")),
        (Some(reason), _) => printable(reason),
        _ => String::new(),
    }
}

fn day(at: k8s_openapi::jiff::Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).date().to_string()
}

/// `in 243d`, `in <1d`, `3d ago`.
fn left(object: &ObjectReport) -> String {
    match object.days_left.unwrap_or_default() {
        0 => "in <1d".into(),
        days if days > 0 => format!("in {days}d"),
        days => format!("{}d ago", -days),
    }
}

/// Words in lines of at most so many columns; a longer word is cut.
fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let mut word: Vec<char> = word.chars().collect();
        loop {
            let line = lines.last_mut().expect("there is a line");
            let length = line.chars().count();
            let gap = usize::from(length > 0);
            if length + gap + word.len() <= columns {
                line.push_str(if gap == 1 { " " } else { "" });
                line.extend(word);
                break;
            }
            if length == 0 {
                line.extend(word.drain(..columns));
            }
            lines.push(String::new());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::status::report::EnvironmentMark;

    fn object(name: &str, ready: bool) -> ObjectReport {
        ObjectReport {
            kind: "DockerHostCert".into(),
            namespace: "home".into(),
            name: name.into(),
            ready,
            issued: Mark::Yes,
            delivered: if ready { Mark::Yes } else { Mark::No },
            served: Mark::NotWanted,
            registered: Mark::NotWanted,
            reason: (!ready).then(|| "NotDelivered".into()),
            message: (!ready).then(|| "no companion runs on the node attic: kubectl get pods shows\x1b[2J why".into()),
            expires: None,
            days_left: None,
            renew_at: None,
            overdue: false,
            secret_name: "x".into(),
            fingerprint: None,
            serial: None,
            selected_hosts: None,
            registered_hosts: None,
            environments: Vec::new(),
        }
    }

    fn output(columns: Option<usize>, colour: bool) -> Output {
        Output { columns, colour }
    }

    #[test]
    fn a_page_fits_its_terminal_and_is_whole_elsewhere() {
        let objects = vec![object("attic", true), object("pandora", false)];
        let report = StatusReport { version: "v1".into(), ready: 1, total: 2, objects };
        let whole = page(&report, false, &output(None, false));
        assert!(whole.starts_with("1 of 2 objects are Ready\n"), "{whole}");
        assert!(whole.contains("NotDelivered: no companion runs on the node attic: kubectl get pods shows [2J why\n"));
        assert!(whole.find("pandora") < whole.find("dhc/attic"), "what is not Ready comes first");
        for columns in [20, 60, 90, 110, 200] {
            let text = page(&report, false, &output(Some(columns), false));
            let words: String = text.split_whitespace().collect();
            assert!(words.contains("kubectlgetpodsshows[2Jwhy"), "{columns}: {text}");
            let widest = text.lines().skip(2).map(|line| line.chars().count()).max().unwrap_or_default();
            assert!(widest <= columns, "{columns}: {text}");
        }
        assert!(!whole.contains('\x1b'));
        let coloured = page(&report, false, &output(Some(90), true));
        assert!(coloured.contains("\x1b[32myes\x1b[0m") && coloured.contains("\x1b[31mno\x1b[0m"), "{coloured}");
    }

    #[test]
    fn a_portainer_counts_its_hosts_and_a_host_names_its_environments() {
        let environment = |id| EnvironmentMark {
            portainer_client: "portainer".into(),
            registered: true,
            id,
            reason: "Registered".into(),
            message: String::new(),
        };
        let host =
            ObjectReport { environments: vec![environment(Some(3)), environment(None)], ..object("attic", true) };
        let client = ObjectReport {
            kind: "PortainerClient".into(),
            registered: Mark::No,
            selected_hosts: Some(4),
            registered_hosts: Some(3),
            ..object("portainer", true)
        };
        let report = StatusReport { version: "v1".into(), ready: 2, total: 2, objects: vec![host, client] };
        let text = page(&report, true, &output(None, false));
        assert!(text.contains("portainer:3,portainer:-") && text.contains("  3/4  "), "{text}");
    }

    #[test]
    fn words_are_wrapped_and_long_ones_cut() {
        assert_eq!(wrapped("ab cd efghij", 5), ["ab cd", "efghi", "j"]);
        assert_eq!(wrapped("", 5), [""]);
    }
}
