//! `herm profile …`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

use super::{Format, examples};

/// Of the whole family.
pub(super) const EXAMPLES: &str =
    "Examples:\n  herm profile create writer\n  herm profile list\n  herm profile delete writer";

/// The family.
#[derive(Debug, Subcommand)]
pub(crate) enum ProfileCommand {
    /// Make a profile; its gateway is registered and stays down until it is started
    #[command(after_help = examples(&["herm profile create writer", "herm profile create coder --clone --clone-from writer", "herm profile create quiet --no-skills --description 'answers rarely'"], ""))]
    Create(CreateArgs),
    /// List the profiles and how their gateways are
    #[command(after_help = examples(&["herm profile list", "herm profile list --json"], ""))]
    List(Format),
    /// Show one profile
    #[command(after_help = examples(&["herm profile show writer"], ""))]
    Show {
        /// The profile
        #[arg(allow_hyphen_values = true)]
        name: String,
        #[command(flatten)]
        format: Format,
    },
    /// Give a profile another name; a running gateway is restarted under the new one
    #[command(after_help = examples(&["herm profile rename writer author"], ""))]
    Rename {
        /// The profile
        old: String,
        /// Its new name
        #[arg(allow_hyphen_values = true)]
        new: String,
    },
    /// Stop a profile's gateway and remove its directory; can be repeated if interrupted
    #[command(after_help = examples(&["herm profile delete writer", "herm profile delete -y writer"], ""))]
    Delete(DeleteArgs),
    /// Write a profile, without its keys and tokens, to an archive
    #[command(after_help = examples(&["herm profile export writer", "herm profile export writer -o /tmp/writer.tar.gz"], ""))]
    Export(ExportArgs),
    /// Make a profile from an archive
    #[command(after_help = examples(&["herm profile import writer.tar.gz", "herm profile import writer.tar.gz --name author"], ""))]
    Import(ImportArgs),
}

/// `create`.
#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// Its name: lower-case letters, digits, - and _
    #[arg(allow_hyphen_values = true)]
    pub(crate) name: String,
    /// Copy configuration, keys, persona, skills and memories from another profile
    #[arg(long, conflicts_with = "clone_all")]
    pub(crate) clone: bool,
    /// Copy everything but sessions and runtime state from another profile
    #[arg(long)]
    pub(crate) clone_all: bool,
    /// The profile to copy; default: `default`
    #[arg(long, value_name = "SRC")]
    pub(crate) clone_from: Option<String>,
    /// Without the bundled skills, now and later
    #[arg(long, conflicts_with_all = ["clone", "clone_all"])]
    pub(crate) no_skills: bool,
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    pub(crate) description: Option<String>,
    #[command(flatten)]
    pub(crate) format: Format,
}

/// `delete`.
#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    /// The profile
    pub(crate) name: String,
    /// Don't ask
    #[arg(short = 'y', long)]
    pub(crate) yes: bool,
}

/// `export`.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The profile
    pub(crate) name: String,
    /// The archive; default NAME.tar.gz here, `-` is standard output
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) output: Option<PathBuf>,
}

/// `import`.
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// The archive, made by `export`
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    /// Its name; default: the one in the archive
    #[arg(long, value_name = "NAME", allow_hyphen_values = true)]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) format: Format,
}
