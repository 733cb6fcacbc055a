//! Nothing in the tree names a place that only some machine can reach: a registry's host, or a
//! directory of the machine it was written on.

use super::Findings;
use super::tree::Tree;

/// Hosts that may be named: examples (RFC 2606), this machine, and specifications to read.
const HOSTS: &[&str] = &[
    "localhost",
    "127.0.0.1",
    "0.0.0.0",
    "[::1]",
    "cr.yp.to",
    "datatracker.ietf.org",
    "json-schema.org",
    "www.w3.org",
    "keepachangelog.com",
    "man7.org",
    "semver.org",
    "skarnet.org",
    "www.apache.org",
    "www.freedesktop.org",
];
const EXAMPLE_ENDINGS: &[&str] = &[
    ".example",
    ".test",
    ".invalid",
    ".localhost",
    "example.com",
    "example.org",
    "example.net",
];

/// Directories of machines that this was written on. In two halves, so as not to find themselves.
const DIRECTORIES: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("/root/", ".cargo"),
    concat!(".py", "env"),
    concat!("/opt/", "wheels"),
];

/// Files whose business is to name hosts.
const EXEMPT: &[&str] = &[
    // Written by cargo, which names its own registry in there.
    "Cargo.lock",
    "fuzz/Cargo.lock",
    "LICENSE-APACHE",
    // The public addresses of well-known providers, for a profile that names one.
    "crates/gateway/src/config/provider.rs",
];

/// Hosts and directories that are named and should not be.
pub(crate) fn check(tree: &Tree) -> Findings {
    let mut findings = Findings::new();
    for (path, text) in tree
        .texts
        .iter()
        .filter(|(path, _)| !EXEMPT.contains(&path.as_str()))
    {
        for (index, line) in text.lines().enumerate() {
            let place = format!("{path}:{}", index + 1);
            findings.extend(hosts(line).filter(|host| !is_allowed(host)).map(|host| {
                format!("{place}: names the host `{host}`; make it a setting, or list it in xtask/src/tidy/places.rs if it is a text to read")
            }));
            let named = DIRECTORIES
                .iter()
                .filter(|directory| line.contains(**directory));
            findings.extend(named.map(|directory| {
                format!("{place}: names `{directory}`, a directory of one machine")
            }));
        }
    }
    findings
}

/// The host of each address in a line.
fn hosts(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("://").filter_map(|(at, separator)| {
        let scheme = line[..at]
            .rsplit(|c: char| !c.is_ascii_alphanumeric())
            .next()?;
        let after = &line[at + separator.len()..];
        let end = after
            .find(|c: char| !(c.is_ascii_alphanumeric() || "-.[]:@".contains(c)))
            .unwrap_or(after.len());
        let host = after[..end].rsplit('@').next()?;
        let host = if host.starts_with('[') {
            host.split_inclusive(']').next()?
        } else {
            host.split(':').next()?
        };
        let host = host.trim_end_matches('.');
        (["http", "https", "git", "ssh"].contains(&scheme)
            && host.contains(|c: char| c.is_ascii_alphanumeric()))
        .then_some(host)
    })
}

fn is_allowed(host: &str) -> bool {
    HOSTS.contains(&host)
        || !host.contains(['.', ':'])
        || EXAMPLE_ENDINGS.iter().any(|ending| host.ends_with(ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> usize {
        check(&Tree::of(
            [("docs/a.md".to_owned(), text.to_owned())].into(),
        ))
        .len()
    }

    #[test]
    fn an_address_of_a_real_host_is_found() {
        assert_eq!(
            found(concat!(
                "see https",
                "://registry.somewhere.net/simple, or http",
                "://user:word@index.other.io:8080/"
            )),
            2
        );
    }

    #[test]
    fn examples_this_machine_and_specifications_may_be_named() {
        assert_eq!(
            found(
                "https://provider.example/v1 http://127.0.0.1:9200/health http://[::1]:80 https://man7.org/ http://{host}:1"
            ),
            0
        );
    }

    #[test]
    fn directories_of_the_writers_machine_are_found() {
        assert_eq!(found(concat!("cd /wo", "rk/herm")), 1);
    }
}
