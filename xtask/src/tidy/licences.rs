//! Every dependency has a licence that `deny.toml` allows, and comes from cargo's own registry.

use anyhow::{Context, Result};
use serde_json::Value;

use super::Findings;
use crate::dist::Target;
use crate::run::{capture, cargo, root};

/// Packages whose licence or origin is not allowed.
pub(crate) fn check() -> Result<Findings> {
    let text =
        std::fs::read_to_string(root().join("deny.toml")).context("could not read deny.toml")?;
    let allowed = allowed(&text)?;
    // Packages of other systems are not fetched, so nothing is known of them.
    let filter = format!("--filter-platform={}", Target::host()?.triple);
    let text = capture(&mut cargo(&[
        "metadata",
        "--locked",
        "--format-version=1",
        &filter,
    ]))?;
    let metadata: Value = serde_json::from_str(&text).context("cargo metadata printed no JSON")?;
    let packages = metadata["packages"]
        .as_array()
        .context("cargo metadata lists no packages")?;
    Ok(packages
        .iter()
        .filter_map(|package| objection(package, &allowed))
        .collect())
}

fn allowed(deny: &str) -> Result<Vec<String>> {
    let deny: toml::Table = deny.parse().context("deny.toml is no TOML")?;
    let list = deny
        .get("licenses")
        .and_then(|licenses| licenses.get("allow"))
        .and_then(toml::Value::as_array);
    let list = list.context("deny.toml has no licenses.allow")?;
    Ok(list
        .iter()
        .filter_map(|name| name.as_str().map(str::to_owned))
        .collect())
}

fn objection(package: &Value, allowed: &[String]) -> Option<String> {
    let name = package["name"]
        .as_str()
        .unwrap_or("a package without a name");
    let source = package["source"].as_str();
    if source.is_some_and(|source| !source.starts_with("registry+")) {
        return Some(format!(
            "{name} comes from {}, not from the registry",
            source.unwrap_or_default()
        ));
    }
    let Some(licence) = package["license"].as_str() else {
        return Some(format!("{name} names no licence"));
    };
    (!is_satisfied(licence, allowed))
        .then(|| format!("{name} is under {licence}, which deny.toml does not allow"))
}

/// True if one way to satisfy an SPDX expression is allowed. `/` is the old way to write OR.
fn is_satisfied(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    let satisfied = any(&mut rest, allowed);
    satisfied && rest.is_empty()
}

fn any(words: &mut &[&str], allowed: &[String]) -> bool {
    let mut satisfied = all(words, allowed);
    while let Some((&"OR", after)) = words.split_first() {
        *words = after;
        satisfied |= all(words, allowed);
    }
    satisfied
}

fn all(words: &mut &[&str], allowed: &[String]) -> bool {
    let mut satisfied = one(words, allowed);
    while let Some((&"AND", after)) = words.split_first() {
        *words = after;
        satisfied &= one(words, allowed);
    }
    satisfied
}

fn one(words: &mut &[&str], allowed: &[String]) -> bool {
    let Some((&first, after)) = words.split_first() else {
        return false;
    };
    *words = after;
    if first == "(" {
        let satisfied = any(words, allowed);
        let closed = words.split_first().filter(|(word, _)| **word == ")");
        *words = closed.map_or(&[], |(_, after)| after);
        return satisfied && closed.is_some();
    }
    let mut name = first.to_owned();
    if let [with @ "WITH", exception, after @ ..] = *words {
        name = format!("{first} {with} {exception}");
        *words = after;
    }
    allowed.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_licence_expression_needs_one_allowed_way() {
        let allowed = [
            "MIT".to_owned(),
            "ISC".to_owned(),
            "Apache-2.0 WITH LLVM-exception".to_owned(),
        ];
        for (expression, expected) in [
            ("MIT", true),
            ("GPL-3.0", false),
            ("GPL-3.0 OR MIT", true),
            ("GPL-3.0/MIT", true),
            ("GPL-3.0 AND MIT", false),
            ("(GPL-3.0 OR MIT) AND ISC", true),
            ("(GPL-3.0 OR MIT) AND (GPL-2.0)", false),
            ("Apache-2.0 WITH LLVM-exception OR Apache-2.0", true),
            ("Apache-2.0", false),
            ("(MIT", false),
            ("", false),
        ] {
            assert_eq!(is_satisfied(expression, &allowed), expected, "{expression}");
        }
    }

    #[test]
    fn a_package_from_elsewhere_or_without_a_licence_is_refused() {
        let allowed = ["MIT".to_owned()];
        let package = |source, licence| serde_json::json!({"name": "a", "source": source, "license": licence});
        assert!(objection(&package(Some("git+ssh://b"), Some("MIT")), &allowed).is_some());
        assert!(objection(&package(Some("registry+c"), None), &allowed).is_some());
        assert!(objection(&package(None, Some("MIT")), &allowed).is_none());
    }

    #[test]
    fn the_list_of_this_repository_allows_its_own_licence() {
        let text = std::fs::read_to_string(root().join("deny.toml")).unwrap();
        assert!(is_satisfied("MIT OR Apache-2.0", &allowed(&text).unwrap()));
    }
}
