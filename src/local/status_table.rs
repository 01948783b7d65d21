//! The state of each object: a table that is redrawn on a terminal, and a line for each change elsewhere.

use crate::adapters::terminal::{self, printable};
use crate::api::ObjectRef;
use crate::api::condition::ConditionType;
use crate::api::status::CertificateStatus;
use std::collections::HashMap;
use std::io::Write;

const CLEAR_BELOW: &str = "\x1b[J";
const GREEN: &str = "\x1b[32m";
const RED: &str = "\x1b[31m";
const PLAIN: &str = "\x1b[0m";

/// Where the table and events are printed.
pub struct Console {
    /// Tables and lines.
    pub out: Box<dyn Write + Send>,
    /// Events and errors.
    pub err: Box<dyn Write + Send>,
    /// Columns and rows of `out`, where it is a terminal.
    pub size: Box<dyn Fn() -> Option<(usize, usize)> + Send>,
    pub colour: bool,
}

impl Console {
    /// Standard output and standard error; `NO_COLOR` is heeded.
    pub fn standard() -> Console {
        let size = Box::new(terminal::size);
        let colour = terminal::allows_colour();
        Console { out: Box::new(std::io::stdout()), err: Box::new(std::io::stderr()), size, colour }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// `Kind/name`, with the namespace where one is not `default`.
    pub name: String,
    /// `True`, `False`, or `-` before the first run.
    pub ready: String,
    pub expires: String,
    pub reason: String,
    pub message: String,
}

impl Row {
    /// The row of an object with that status.
    pub fn new(at: &ObjectRef, namespaced: bool, status: &CertificateStatus) -> Row {
        let ready = status.conditions.iter().find(|condition| condition.type_ == ConditionType::Ready.as_str());
        let name = match namespaced {
            true => format!("{}/{}/{}", at.kind, at.namespace, at.name),
            false => format!("{}/{}", at.kind, at.name),
        };
        Row {
            name,
            ready: ready.map_or_else(|| "-".to_owned(), |ready| ready.status.clone()),
            expires: status.not_after.as_ref().map_or_else(|| "-".to_owned(), |end| end.0.to_string()),
            reason: ready.map(|ready| ready.reason.clone()).unwrap_or_default(),
            message: ready.map(|ready| ready.message.clone()).unwrap_or_default(),
        }
    }

    pub fn is_ready(&self) -> bool {
        self.ready == "True"
    }

    fn cells(&self) -> [&str; 5] {
        [&self.name, &self.ready, &self.expires, &self.reason, &self.message]
    }
}

/// The table on the console.
pub struct StatusTable {
    console: Console,
    rows: Vec<Row>,
    drawn: usize,
    /// The last line that was printed about each thing.
    last_lines: HashMap<String, String>,
}

impl StatusTable {
    pub fn new(console: Console) -> StatusTable {
        StatusTable { console, rows: Vec::new(), drawn: 0, last_lines: HashMap::new() }
    }

    /// Shows those objects from now on; an object that was shown before keeps its row.
    pub fn reset(&mut self, rows: Vec<Row>) {
        let known = std::mem::take(&mut self.rows);
        let kept = |row: Row| known.iter().find(|old| old.name == row.name).cloned().unwrap_or(row);
        self.rows = rows.into_iter().map(kept).collect();
    }

    /// Sets an object's row, which is printed at once where there is no terminal.
    pub fn note(&mut self, index: usize, row: Row) {
        if self.rows[index] == row {
            return;
        }
        if (self.console.size)().is_none() {
            let text = lines(&[&row], usize::MAX).remove(0);
            let _ = writeln!(self.console.out, "{}", text.trim_end()); // a closed pipe does not end the work
            let _ = self.console.out.flush();
        }
        self.rows[index] = row;
    }

    /// Draws the table where the last one was.
    pub fn draw(&mut self) {
        let Some((columns, rows)) = (self.console.size)() else { return };
        let lines = self.table(columns, rows.saturating_sub(1).max(2));
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let _ = write!(self.console.out, "{}{text}", self.wipe());
        let _ = self.console.out.flush();
        self.drawn = lines.len();
    }

    /// Prints a line on standard error, above the table.
    pub fn print_event(&mut self, line: &str) {
        let wipe = self.wipe();
        if !wipe.is_empty() {
            let _ = write!(self.console.out, "{wipe}");
            let _ = self.console.out.flush();
        }
        self.drawn = 0;
        let _ = writeln!(self.console.err, "{}", printable(line));
        let _ = self.console.err.flush();
    }

    /// Prints what there is to say `about` something, once until it changes; nothing where there is nothing to say.
    pub fn print_news(&mut self, about: &str, line: Option<&str>) {
        let before = match line {
            Some(line) => self.last_lines.insert(about.to_owned(), line.to_owned()),
            None => self.last_lines.remove(about),
        };
        if let Some(line) = line.filter(|line| before.as_deref() != Some(*line)) {
            self.print_event(line);
        }
    }

    fn wipe(&self) -> String {
        if self.drawn == 0 { String::new() } else { format!("\x1b[{}A\r{CLEAR_BELOW}", self.drawn) }
    }

    /// Header and rows, cut to the width; where they do not fit, those that are not Ready and a sum.
    fn table(&self, columns: usize, rows: usize) -> Vec<String> {
        let whole = self.rows.len() < rows;
        let shown: Vec<&Row> = if whole {
            self.rows.iter().collect()
        } else {
            self.rows.iter().filter(|row| !row.is_ready()).take(rows.saturating_sub(2)).collect()
        };
        let header = ["KIND/NAME", "READY", "EXPIRES", "REASON", "MESSAGE"].map(str::to_owned);
        let [name, ready, expires, reason, message] = header;
        let header = Row { name, ready, expires, reason, message };
        let all: Vec<&Row> = std::iter::once(&header).chain(shown.iter().copied()).collect();
        let mut lines = lines(&all, columns);
        if self.console.colour {
            for (line, row) in lines.iter_mut().zip(&all).skip(1) {
                *line = coloured(line, row);
            }
        }
        if !whole {
            let ready = self.rows.iter().filter(|row| row.is_ready()).count();
            lines.push(format!("{ready} of {} are Ready", self.rows.len()).chars().take(columns).collect());
        }
        lines
    }
}

/// Rows as lines whose columns are aligned, each at most `columns` wide.
fn lines(rows: &[&Row], columns: usize) -> Vec<String> {
    let mut widths = [0; 5];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row.cells()) {
            *width = (*width).max(cell.chars().count());
        }
    }
    widths[4] = 0;
    rows.iter().map(|row| line(row, &widths, columns)).collect()
}

fn line(row: &Row, widths: &[usize; 5], columns: usize) -> String {
    let cells: Vec<String> =
        row.cells().iter().zip(widths).map(|(cell, width)| format!("{:<width$}", printable(cell))).collect();
    cells.join("  ").chars().take(columns).collect()
}

fn coloured(line: &str, row: &Row) -> String {
    let colour = match row.ready.as_str() {
        "True" => GREEN,
        "False" => RED,
        _ => return line.to_owned(),
    };
    format!("{colour}{line}{PLAIN}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;
    use std::sync::Arc;

    fn table_of(count: usize) -> StatusTable {
        let console = Console {
            out: Box::new(std::io::sink()),
            err: Box::new(std::io::sink()),
            size: Box::new(|| None),
            colour: true,
        };
        let row = |n| Row {
            name: format!("DockerHostCert/{n}"),
            ready: if n == 1 { "False" } else { "True" }.into(),
            message: "a\tb".into(),
            ..Row::default()
        };
        StatusTable { console, rows: (0..count).map(row).collect(), drawn: 0, last_lines: HashMap::new() }
    }

    #[test]
    fn a_sentence_is_printed_once_until_it_changes() {
        let printed = Arc::new(Mutex::new(Vec::new()));
        let mut table = table_of(0);
        table.console.err = Box::new(Recorded(Arc::clone(&printed)));
        for line in [Some("full"), Some("full"), Some("fuller"), Some("full"), None, None, Some("full")] {
            table.print_news("the disk", line);
            table.print_news("the clock", Some("slow"));
        }
        let printed = String::from_utf8(printed.lock().clone()).expect("text");
        assert_eq!(printed.lines().collect::<Vec<_>>(), ["full", "slow", "fuller", "full", "full"]);
    }

    struct Recorded(Arc<Mutex<Vec<u8>>>);

    impl Write for Recorded {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_table_fits_its_terminal() {
        let whole = table_of(3).table(40, 10);
        assert_eq!(whole.len(), 4);
        assert!(
            whole[0].starts_with("KIND/NAME         READY") && whole[2].starts_with(RED) && whole[3].starts_with(GREEN)
        );
        let long = table_of(100).table(30, 10);
        assert_eq!(long.len(), 3, "header, the one that is not Ready, and the sum: {long:?}");
        assert_eq!(long[2], "99 of 100 are Ready");
        assert!(long.iter().all(|line| line.chars().count() <= 30 + RED.len() + PLAIN.len()));
    }
}
