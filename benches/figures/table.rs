//! Raw figures as they come, and one table at the end.

use std::time::Instant;

/// The figures, in order.
pub struct Table {
    rows: Vec<(String, String)>,
    started: Instant,
}

impl Default for Table {
    fn default() -> Table {
        Table { rows: Vec::new(), started: Instant::now() }
    }
}

impl Table {
    /// Says what is measured now.
    pub fn note(&self, what: &str) {
        eprintln!("[{:>6.1} s] {what}", self.started.elapsed().as_secs_f64());
    }

    /// Notes a figure.
    pub fn row(&mut self, what: impl Into<String>, figure: impl Into<String>) {
        let (what, figure) = (what.into(), figure.into());
        self.note(&format!("{what}: {figure}"));
        self.rows.push((what, figure));
    }

    /// Prints the table as Markdown.
    pub fn print(&self) {
        println!("| what | measured |\n|---|---|");
        for (what, figure) in &self.rows {
            println!("| {what} | {figure} |");
        }
    }
}

/// The middle one; the raw ones stand beside it in [`raw`].
pub fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// All of them.
pub fn raw(figures: &[f64]) -> String {
    figures.iter().map(|figure| format!("{figure:.0}")).collect::<Vec<_>>().join(", ")
}
