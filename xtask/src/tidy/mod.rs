//! `cargo xtask tidy`: the rules of this repository that no compiler checks.
//!
//! A check is a function from the tree to findings; all of them run, and everything found is
//! printed, so that one run shows one whole list.

pub(crate) mod binary;
mod docs;
mod edges;
mod functions;
mod licences;
mod places;
mod source;
mod style;
mod tree;

use anyhow::{Result, bail};

use self::tree::Tree;

pub(crate) use self::edges::page as edges_page;

/// Something that breaks a rule: where, and what.
type Findings = Vec<String>;

/// Runs every check and prints what they find.
pub(crate) fn tidy() -> Result<()> {
    let tree = Tree::read()?;
    let mut findings = Findings::new();
    for (name, found) in [
        ("dependency edges", edges::check()?),
        ("licences", licences::check()?),
        ("length of functions", functions::check(&tree)),
        ("habits of code", style::check(&tree)),
        ("hosts and paths", places::check(&tree)),
        ("documentation", docs::check(&tree)),
    ] {
        println!(
            "{name}: {}",
            if found.is_empty() {
                "ok".into()
            } else {
                format!("{} findings", found.len())
            }
        );
        findings.extend(found);
    }
    if let Err(error) = binary::check() {
        findings.push(format!("{error:#}"));
    }
    for finding in &findings {
        println!("  {finding}");
    }
    if !findings.is_empty() {
        bail!("{} findings of tidy", findings.len());
    }
    Ok(())
}
