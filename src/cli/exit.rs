//! Exit codes, and the errors that carry one other than 1.

use std::process::ExitCode;

/// What a command ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Done,
    /// It could not be done.
    Failed,
    /// The arguments cannot be used; clap has the same code.
    Usage,
    /// There is no object of that name.
    NotFound,
    /// An object that was asked for is not Ready.
    NotReady,
}

impl Exit {
    pub fn number(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::NotFound => 3,
            Exit::NotReady => 4,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.number())
    }
}

/// A sentence for the user, and the code to end with.
#[derive(Debug, thiserror::Error)]
#[error("{sentence}")]
pub struct CliError {
    pub exit: Exit,
    /// What is wrong, and what to do.
    pub sentence: String,
}

impl CliError {
    /// The arguments cannot be used.
    pub fn usage(sentence: impl Into<String>) -> anyhow::Error {
        CliError { exit: Exit::Usage, sentence: sentence.into() }.into()
    }

    /// There is no object of that name.
    pub fn not_found(sentence: impl Into<String>) -> anyhow::Error {
        CliError { exit: Exit::NotFound, sentence: sentence.into() }.into()
    }

    /// The object is not Ready, or has no certificate yet.
    pub fn not_ready(sentence: impl Into<String>) -> anyhow::Error {
        CliError { exit: Exit::NotReady, sentence: sentence.into() }.into()
    }
}

/// The code of an error.
pub fn of(error: &anyhow::Error) -> Exit {
    error.downcast_ref::<CliError>().map_or(Exit::Failed, |fault| fault.exit)
}

/// An error and its causes, each once: many errors have their cause in their own text.
pub fn message(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |said, cause| match () {
        () if said.is_empty() => cause,
        () if said.contains(&cause) => said,
        () => format!("{said}: {cause}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_said_once() {
        let refused = || std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let apart = anyhow::Error::from(refused()).context("failed to ask");
        assert_eq!(message(&apart), "failed to ask: connection refused");
        let within = anyhow::Error::from(refused()).context("failed to ask: connection refused: is it up?");
        assert_eq!(message(&within), "failed to ask: connection refused: is it up?");
    }
}
