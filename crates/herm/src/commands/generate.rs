//! `herm generate DIR`: the reference pages that are checked in. Built with the feature
//! `generate` only, so that shipped binaries carry no schema.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use clap::CommandFactory as _;

use crate::cli::Cli;
use crate::failure::{Failure, Outcome};

/// What a line of the control socket can be; the root of the schema.
#[derive(schemars::JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
struct Protocol {
    /// From a client.
    request: herm_wire::Request,
    /// To a client.
    reply: herm_wire::Reply,
    /// To a subscriber.
    event: herm_wire::Event,
}

/// Writes `cli.md`, `control.schema.json` and `openapi.json`.
pub(super) fn run(dir: &Path) -> Outcome {
    fs::create_dir_all(dir).map_err(|error| Failure::file("create", dir, &error))?;
    write(&dir.join("cli.md"), &reference())?;
    let mut schema = serde_json::to_string_pretty(&schemars::schema_for!(Protocol))
        .map_err(|error| Failure::failed(format!("can't write the schema as JSON: {error}")))?;
    schema.push('\n');
    write(&dir.join("control.schema.json"), &schema)?;
    let api = serde_json::to_string_pretty(&herm_dashboard::api::openapi::document())
        .map_err(|error| Failure::failed(format!("can't write the document as JSON: {error}")))?;
    write(&dir.join("openapi.json"), &format!("{api}\n"))
}

fn write(path: &Path, text: &str) -> Outcome {
    fs::write(path, text).map_err(|error| Failure::file("write", path, &error))
}

fn reference() -> String {
    let mut page = String::from(
        "# The command line\n\nGenerated from the command table by `cargo xtask gen`; do not edit.\n",
    );
    let mut root = Cli::command();
    root.build();
    section(&mut page, &root, "");
    page
}

fn section(page: &mut String, command: &clap::Command, parents: &str) {
    let path = format!("{parents}{}", command.get_name());
    let level = "#".repeat(path.split(' ').count() + 1);
    let mut command_for_help = command.clone().term_width(100);
    // Writing to a String cannot fail.
    let _ = write!(page, "\n{level} `{path}`\n\n```text\n");
    for line in command_for_help.render_long_help().to_string().lines() {
        let _ = writeln!(page, "{}", line.trim_end());
    }
    page.push_str("```\n");
    for child in command
        .get_subcommands()
        .filter(|child| !child.is_hide_set())
    {
        section(page, child, &format!("{path} "));
    }
}
