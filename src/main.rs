//! dockseal: parse, dispatch, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    match dockseal::cli::main() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("dockseal: {}", dockseal::cli::exit::message(&error));
            dockseal::cli::exit::of(&error).into()
        }
    }
}
