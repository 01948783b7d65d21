//! Exit codes, and the errors that carry one other than 1.

use std::process::ExitCode;

/// What a command ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Done,
    /// It could not be done.
    Failed,
    /// The arguments make no sense, as clap says it too.
    Usage,
    /// There is no object of that name.
    NotFound,
    /// Something that was asked about is not Ready.
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
    /// The arguments make no sense.
    pub fn usage(sentence: impl Into<String>) -> anyhow::Error {
        CliError { exit: Exit::Usage, sentence: sentence.into() }.into()
    }

    /// What was named is not there.
    pub fn not_found(sentence: impl Into<String>) -> anyhow::Error {
        CliError { exit: Exit::NotFound, sentence: sentence.into() }.into()
    }

    /// What was named is not as far as it has to be.
    pub fn not_ready(sentence: impl Into<String>) -> anyhow::Error {
        CliError { exit: Exit::NotReady, sentence: sentence.into() }.into()
    }
}

/// The code of an error.
pub fn of(error: &anyhow::Error) -> Exit {
    error.downcast_ref::<CliError>().map_or(Exit::Failed, |fault| fault.exit)
}

/// An error with what caused it, each once: many already have their cause's words in their own.
pub fn words(error: &anyhow::Error) -> String {
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
        assert_eq!(words(&apart), "failed to ask: connection refused");
        let within = anyhow::Error::from(refused()).context("failed to ask: connection refused: is it up?");
        assert_eq!(words(&within), "failed to ask: connection refused: is it up?");
    }
}
