//! A command line of a unit: read from the unit's text or from D-Bus, changed, and written so that systemd reads it.

use super::flags::{Flag, TlsFlag, flags};
use super::quoting::{QuotingError, quoted, split, split_variable};
use std::collections::BTreeSet;

/// A command line of ExecStart= (systemd.service(5), "COMMAND LINES"). Its words are without quotes, with specifiers
/// (`%H`, and `%%` for a percent sign) and variables (`$OPTS`, `${HOST}`, and `$$` for a dollar sign) as a unit has
/// them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecLine {
    /// `@ - : + !` before the program.
    prefix: String,
    /// The program first; behind it argv\[0\] where the prefix has `@`.
    words: Vec<String>,
}

/// What may stand before a program.
const PREFIXES: [char; 6] = ['@', '-', ':', '+', '!', '|'];

/// Why a command line cannot be edited.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ExecError {
    /// The command line is empty.
    #[error("failed to read ExecStart: it is empty")]
    Empty,
    /// Two commands with `;` between them.
    #[error("failed to read ExecStart: it holds more than one command")]
    MoreThanOne,
    /// A quote that is not closed; systemd ignores such a line.
    #[error("failed to read ExecStart: a quote is not closed")]
    Unbalanced,
    /// Escapes for bytes that are not UTF-8, or a zero byte, which no argument holds.
    #[error("failed to read ExecStart: it is not UTF-8")]
    NotText,
    /// A program whose name begins like a prefix, which a unit cannot express.
    #[error("failed to read ExecStart: {0:?} is not a program")]
    NotAProgram(String),
    /// An ExecStartEx flag that Dockseal does not know.
    #[error("failed to read ExecStart: Dockseal does not know the flag {0:?}")]
    UnknownFlag(String),
}

impl From<QuotingError> for ExecError {
    fn from(error: QuotingError) -> ExecError {
        match error {
            QuotingError::Unbalanced => ExecError::Unbalanced,
            QuotingError::NotText => ExecError::NotText,
        }
    }
}

impl ExecLine {
    /// Reads the value of ExecStart= as a unit has it, with its lines joined.
    ///
    /// # Errors
    /// [`ExecError`]: it is empty, more than one command, or not what systemd would take.
    pub fn parse(text: &str) -> Result<ExecLine, ExecError> {
        let mut words = Vec::new();
        if text.contains('\0') {
            return Err(ExecError::NotText);
        }
        for word in split(text)? {
            match word.written {
                ";" => return Err(ExecError::MoreThanOne),
                "\\;" if !words.is_empty() => words.push(";".to_owned()),
                _ => words.push(word.text),
            }
        }
        let first = words.first_mut().ok_or(ExecError::Empty)?;
        let program = first.trim_start_matches(PREFIXES).to_owned();
        let prefix = first[..first.len() - program.len()].to_owned();
        *first = program;
        let line = ExecLine { prefix, words };
        if line.words[0].is_empty() || line.words.len() < line.start() { Err(ExecError::Empty) } else { Ok(line) }
    }

    /// The line of an argv as D-Bus has it: split, specifiers replaced, variables not.
    ///
    /// # Errors
    /// [`ExecError`]: it is empty, holds a zero byte, or begins with no program.
    pub fn from_argv(argv: &[String]) -> Result<ExecLine, ExecError> {
        let path = argv.first().ok_or(ExecError::Empty)?;
        ExecLine::from_exec(path, argv, &[])
    }

    /// The line of one element of the D-Bus property ExecStartEx: path, argv and flags.
    ///
    /// # Errors
    /// [`ExecError`]: it is empty, holds a zero byte, begins with no program, or a flag is not known here.
    pub fn from_exec(path: &str, argv: &[String], flags: &[&str]) -> Result<ExecLine, ExecError> {
        let name = argv.first().ok_or(ExecError::Empty)?;
        if path.is_empty() || path.starts_with(PREFIXES) {
            return Err(ExecError::NotAProgram(path.to_owned()));
        }
        if path.contains('\0') || argv.iter().any(|word| word.contains('\0')) {
            return Err(ExecError::NotText);
        }
        let mut prefix = String::new();
        for flag in flags {
            prefix.push_str(match *flag {
                "ignore-failure" => "-",
                "no-env-expand" => ":",
                "privileged" => "+",
                "no-setuid" => "!",
                "ambient" => "!!",
                other => return Err(ExecError::UnknownFlag(other.to_owned())),
            });
        }
        let own_name = if name == path { None } else { Some(name) };
        prefix.extend(own_name.map(|_| '@'));
        let program = std::iter::once(path).chain(own_name.map(String::as_str));
        let words = program.chain(argv[1..].iter().map(String::as_str)).map(|word| word.replace('%', "%%")).collect();
        Ok(ExecLine { prefix, words })
    }

    /// The line of the arguments that a process was started with: nothing in it is replaced any more.
    pub fn literal(argv: &[String]) -> ExecLine {
        ExecLine { prefix: String::new(), words: argv.iter().map(|word| literal(word)).collect() }
    }

    /// The words behind the program of a line without variables and specifiers.
    pub fn arguments(&self) -> Vec<String> {
        self.words.iter().skip(self.start()).map(|word| plain(word)).collect()
    }

    /// The program, as a unit names it.
    pub fn program(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    /// Whether this line of a unit is the one that systemd says it has loaded, as far as specifiers let that be seen.
    pub fn is(&self, loaded: &ExecLine) -> bool {
        let (own, theirs) = (&self.words[self.start()..], &loaded.words[loaded.start()..]);
        let specified = |word: &str| word.replace("%%", "").contains('%');
        let name = |line: &ExecLine| line.program().rsplit('/').next().unwrap_or_default().to_owned();
        own.len() == theirs.len()
            && own.iter().zip(theirs).all(|(own, theirs)| own == theirs || specified(own))
            && (name(self) == name(loaded) || specified(self.program()))
            && self.prefix.contains(':') == loaded.prefix.contains(':')
    }

    /// The value of ExecStart=, in one line.
    pub fn render(&self) -> String {
        let words = self.words.iter().enumerate().map(|(index, word)| match index {
            0 => quoted(&format!("{}{word}", self.prefix)),
            _ => quoted(word),
        });
        words.collect::<Vec<_>>().join(" ")
    }

    /// The program and its arguments as D-Bus has them: without argv\[0\], percent signs single, variables as they are.
    pub fn argv(&self) -> Vec<String> {
        let own_name = self.start() - 1;
        let words = self.words.iter().enumerate().filter(|(index, _)| *index == 0 || *index > own_name);
        words.map(|(_, word)| word.replace("%%", "%")).collect()
    }

    /// The values of `-H` and `--host` in order.
    pub fn listeners(&self) -> Vec<String> {
        self.values("host")
    }

    /// The flags of TLS, in order.
    pub fn tls_flags(&self) -> Vec<TlsFlag> {
        let tls = |flag: Flag| flag.tls_name().map(|name| TlsFlag { name, value: flag.value.map(|text| plain(&text)) });
        self.flags().into_iter().filter_map(tls).collect()
    }

    /// Where `--config-file` says that daemon.json is; the last one counts.
    pub fn config_file(&self) -> Option<String> {
        self.values("config-file").pop()
    }

    /// Whether a flag listens or speaks of TLS, other than one `-H fd://`.
    pub fn must_change(&self) -> bool {
        self.listeners() != ["fd://"] || !self.tls_flags().is_empty()
    }

    /// The line with which dockerd listens on what systemd hands over, and reads TLS from daemon.json alone: no flag of
    /// TLS, and one `-H fd://` in the place of the first `-H`, or behind the program. Variables are taken as words
    /// that are no flags: [`ExecLine::inlined`] comes first.
    pub fn taken_over(&self) -> ExecLine {
        let going: Vec<Flag> = self.flags().into_iter().filter(Flag::must_go).collect();
        let place = going.iter().find(|flag| flag.name == "host").map_or(self.start(), |flag| flag.at);
        let systemd = || ["-H".to_owned(), "fd://".to_owned()];
        let mut words = Vec::new();
        for (index, word) in self.words.iter().enumerate() {
            let gone = going.iter().find(|flag| flag.range().contains(&index));
            if index == place && gone.is_none() {
                words.extend(systemd());
            }
            words.extend(gone.map_or(Some(word), |flag| flag.left.as_ref().filter(|_| flag.at == index)).cloned());
            if index == place && gone.is_some() {
                words.extend(systemd());
            }
        }
        if place >= self.words.len() {
            words.extend(systemd());
        }
        ExecLine { prefix: self.prefix.clone(), words }
    }

    /// The line with all variables replaced by their values, which is what dockerd is started with.
    pub fn expanded(&self, variables: &dyn Fn(&str) -> Option<String>) -> ExecLine {
        let words = self.words.iter().enumerate().flat_map(|(index, word)| self.expansion(index, word, variables));
        ExecLine { prefix: self.prefix.clone(), words: words.collect() }
    }

    /// The line in which variables that hold a flag that must go, or a part of one, are replaced by their values. The
    /// others stay, for the unit's environment to fill in. Taken over, it starts dockerd as the expanded line would.
    pub fn inlined(&self, variables: &dyn Fn(&str) -> Option<String>) -> ExecLine {
        let parts: Vec<Vec<String>> =
            self.words.iter().enumerate().map(|(index, word)| self.expansion(index, word, variables)).collect();
        let origins: Vec<usize> = parts.iter().enumerate().flat_map(|(index, part)| vec![index; part.len()]).collect();
        let expanded = ExecLine { prefix: self.prefix.clone(), words: parts.concat() };
        let going = expanded.flags().into_iter().filter(Flag::must_go);
        let going: BTreeSet<usize> = going.flat_map(|flag| origins[flag.range()].to_vec()).collect();
        let words = self.words.iter().zip(parts).enumerate();
        let words = words.flat_map(|(index, (word, part))| match going.contains(&index) {
            true => part,
            false => vec![word.clone()],
        });
        let inlined = ExecLine { prefix: self.prefix.clone(), words: words.collect() };
        // A variable that ends in a flag without its value changes what the words behind it are.
        let same = inlined.taken_over().expanded(variables) == expanded.taken_over();
        if same { inlined } else { expanded }
    }

    /// What a word becomes when the unit starts: `$NAME` alone any number of words, `${NAME}` text within one.
    fn expansion(&self, index: usize, word: &str, variables: &dyn Fn(&str) -> Option<String>) -> Vec<String> {
        if index < self.start() || self.prefix.contains(':') {
            return vec![word.to_owned()];
        }
        match word.strip_prefix('$').filter(|name| !name.starts_with(['{', '$'])) {
            Some(name) => {
                split_variable(&variables(name).unwrap_or_default()).iter().map(|word| literal(word)).collect()
            }
            None => vec![braced(word, variables)],
        }
    }

    fn values(&self, name: &str) -> Vec<String> {
        let values = self.flags().into_iter().filter(|flag| flag.name == name);
        values.filter_map(|flag| flag.value).map(|value| plain(&value)).collect()
    }

    fn flags(&self) -> Vec<Flag> {
        flags(&self.words, self.start())
    }

    /// Where the arguments begin.
    fn start(&self) -> usize {
        if self.prefix.contains('@') { 2 } else { 1 }
    }
}

/// A word in which each `${NAME}` is its value.
fn braced(word: &str, variables: &dyn Fn(&str) -> Option<String>) -> String {
    let (mut text, mut rest) = (String::new(), word);
    while let Some(at) = rest.find('$') {
        let (piece, length) = dollar(&rest[at..], variables);
        text.push_str(&rest[..at]);
        text.push_str(&piece);
        rest = &rest[at + length..];
    }
    text + rest
}

/// What a text that begins with a dollar sign begins with, and how long that is. Within a word systemd takes no `$NAME`,
/// no `${NAME}` with a colon in it, and nothing behind a brace that is not closed: such a sign is doubled.
fn dollar(text: &str, variables: &dyn Fn(&str) -> Option<String>) -> (String, usize) {
    let Some(inside) = text.strip_prefix("${") else {
        return ("$$".to_owned(), if text.starts_with("$$") { 2 } else { 1 });
    };
    match inside.find(['}', ':']) {
        Some(end) if inside[end..].starts_with('}') => {
            (literal(&variables(&inside[..end]).unwrap_or_default()), end + 3)
        }
        end => {
            let length = end.map_or(text.len(), |end| end + 3);
            (text[..length].replace('$', "$$"), length)
        }
    }
}

/// A text in which nothing is replaced.
fn literal(text: &str) -> String {
    text.replace('%', "%%").replace('$', "$$")
}

/// What a word without variables and specifiers becomes.
fn plain(word: &str) -> String {
    word.replace("%%", "%").replace("$$", "$")
}
