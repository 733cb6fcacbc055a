//! Pages made from the command table: completions and manual pages.

use std::fs;
use std::path::Path;

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::cli::Cli;
use crate::failure::{Failure, Outcome};
use crate::output::Out;

/// `herm completions SHELL`.
pub(super) fn completions(shell: Shell) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "herm", &mut script);
    let mut out = Out::stdout();
    out.bytes(&script)?;
    out.flush()
}

/// `herm man`: the page of the whole on standard output, or one page per command in a directory.
pub(super) fn man(dir: Option<&Path>) -> Outcome {
    let Some(dir) = dir else {
        let mut page = Vec::new();
        clap_mangen::Man::new(Cli::command()).render(&mut page)?;
        let mut out = Out::stdout();
        out.bytes(&page)?;
        return out.flush();
    };
    fs::create_dir_all(dir).map_err(|error| Failure::file("create", dir, &error))?;
    clap_mangen::generate_to(Cli::command(), dir)
        .map_err(|error| Failure::file("write manual pages to", dir, &error))
}
