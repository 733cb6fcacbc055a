//! No function grows past what fits on a screen.

use super::Findings;
use super::source::{Source, closing, line_of, occurrences};
use super::tree::Tree;

/// The longest body a function may have, in lines, tests excepted.
const LONGEST: usize = 70;

/// Functions of shipped code that are longer.
pub(crate) fn check(tree: &Tree) -> Findings {
    let mut findings = Findings::new();
    for (path, source) in &tree.sources {
        for function in functions(source).filter(|function| function.lines > LONGEST) {
            findings.push(format!(
                "{path}:{}: `{}` has {} lines; the most is {LONGEST}: give a part of it a name of its own",
                function.line, function.name, function.lines
            ));
        }
    }
    findings
}

struct Function<'a> {
    name: &'a str,
    line: usize,
    lines: usize,
}

fn functions(source: &Source) -> impl Iterator<Item = Function<'_>> {
    let code = source.code.as_str();
    occurrences(code, "fn ").filter_map(move |at| {
        let after = &code[at + 3..];
        let length = after.find(|c: char| !c.is_alphanumeric() && c != '_')?;
        let open = body(code, at)?;
        let lines = code[open..closing(code, open)]
            .matches('\n')
            .count()
            .saturating_sub(1);
        (length > 0).then(|| Function {
            name: &after[..length],
            line: line_of(code, at),
            lines,
        })
    })
}

/// The brace that opens the body of the function at `at`; a declaration has none.
fn body(code: &str, at: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (offset, c) in code[at..].char_indices() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            '{' if depth == 0 => return Some(at + offset),
            ';' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(text: &str) -> Vec<(String, usize)> {
        let source = Source::parse(text, false);
        functions(&source)
            .map(|function| (function.name.to_owned(), function.lines))
            .collect()
    }

    #[test]
    fn the_lines_between_the_braces_are_counted() {
        let text =
            "fn a(b: [u8; 4]) -> c\nwhere\n    D: E,\n{\n    // f\n    g(\"{\");\n}\n\nfn h() {}\n";
        assert_eq!(measured(text), [("a".into(), 2), ("h".into(), 0)]);
    }

    #[test]
    fn declarations_and_function_types_have_no_body() {
        assert_eq!(
            measured("trait A { fn b(&self); }\nstruct C { d: fn() -> u8 }\n"),
            []
        );
    }

    #[test]
    fn a_function_one_line_too_long_is_found() {
        let text = |lines| format!("fn long() {{\n{}}}\n", "    a();\n".repeat(lines));
        let tree = |lines| Tree::of([("crates/a/src/lib.rs".to_owned(), text(lines))].into());
        assert!(check(&tree(LONGEST)).is_empty());
        assert_eq!(check(&tree(LONGEST + 1)).len(), 1);
    }
}
