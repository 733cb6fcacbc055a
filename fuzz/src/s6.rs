//! The s6 family's scripts, patterns and sources.

use herm_s6::execline::substitute::{Cut, Substitution, substitute};
use herm_s6::execline::{block, lexer};
use herm_s6::{fix_attrs, glob};
use herm_s6::log::script::{Step, parse};
use herm_s6::rc::compile::compile;
use herm_s6::rc::database::Database;
use herm_s6::rc::source::{Definition, Node};

/// A script parses to words that no block is left open in, and the quoted words to themselves.
pub fn execline_script(data: &[u8]) {
    let Ok(words) = lexer::parse(data) else {
        return;
    };
    let mut quoted = Vec::new();
    for word in &words {
        quoted.push(b'"');
        for byte in word {
            if matches!(byte, b'"' | b'\\') {
                quoted.push(b'\\');
            }
            quoted.push(*byte);
        }
        quoted.extend_from_slice(b"\" ");
    }
    assert_eq!(lexer::parse(&quoted).as_ref(), Ok(&words));
    if let Some(end) = block::end(&words) {
        assert!(words[end].is_empty());
    }
    let cut = Cut {
        crunch: words.len() % 2 == 0,
        split: true,
        ..Cut::default()
    };
    let values = cut.apply(data).unwrap_or_default();
    let keys = [
        Substitution {
            key: b"A".to_vec(),
            words: values,
        },
        Substitution {
            key: b"B".to_vec(),
            words: vec![b"$A".to_vec()],
        },
    ];
    if let Some(line) = substitute(&words, &keys) {
        // What was put in is not looked at again, so a line without keys stays as it is.
        let plain = words.iter().all(|word| !word.contains(&b'$'));
        assert!(!plain || line == words);
    }
}

/// A pattern and a name, parted by a null character.
pub fn glob_pattern(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == 0);
    let (pattern, name) = (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    );
    let matched = glob::matches(pattern, name, true);
    let has_meaning = pattern
        .iter()
        .any(|byte| matches!(byte, b'*' | b'?' | b'['));
    assert!(has_meaning || matched == (pattern == name));
    glob::matches(pattern, name, false);
}

/// The rules of a file keep their order and bounds, and a line that makes no sense is named.
pub fn fix_attrs(data: &[u8]) {
    let lines = data.split(|byte| *byte == b'\n').count();
    let mut before = 0;
    for rule in fix_attrs::parse(data) {
        let line = match rule {
            Ok(rule) => {
                assert!(!rule.pattern.is_empty());
                assert!(!rule.account.is_empty() || rule.fallback.is_some());
                assert!(rule.file_mode <= 0o7777 && rule.directory_mode <= 0o7777);
                rule.line
            }
            Err(bad) => bad.line,
        };
        assert!(line > before && line <= lines);
        before = line;
    }
}

/// Definitions: blocks parted by an empty line; the first line of each is its name, the others are
/// `file=content`, or `directory/=name,name`.
pub fn rc_sources(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let definitions: Vec<Definition> = text.split("\n\n").map(definition).collect();
    let Ok(compiled) = compile(&definitions, &["base"]) else {
        return;
    };
    let database = compiled.database;
    for (place, service) in database.services.iter().enumerate() {
        for needed in &service.dependencies {
            let needed = database
                .services
                .iter()
                .position(|other| other.name == *needed);
            assert!(needed.is_some_and(|needed| needed < place));
        }
    }
    let read = Database::parse(&database.to_text());
    assert_eq!(read.bundles, database.bundles);
    assert_eq!(read.services.len(), database.services.len());
}

fn definition(text: &str) -> Definition {
    let mut lines = text.split('\n');
    let name = lines.next().unwrap_or_default().to_owned();
    let entry = |line: &str| {
        let (file, content) = line.split_once('=').unwrap_or((line, ""));
        match file.strip_suffix('/') {
            Some(dir) => {
                let names = content.split(',').map(str::to_owned).collect();
                (dir.to_owned(), Node::Directory(names))
            }
            None => {
                let content = content.replace("\\n", "\n").into_bytes();
                (file.to_owned(), Node::File(content))
            }
        }
    };
    Definition {
        path: format!("/src/{name}"),
        name,
        entries: lines.map(entry).collect(),
    }
}

/// A logging script, a directive on each line, and after an empty line what its patterns are tried
/// on: what they answer doesn't depend on what they were tried on before.
pub fn log_script(data: &[u8]) {
    let text = data.split(|byte| *byte == b'\n').collect::<Vec<_>>();
    let end = text.iter().position(|line| line.is_empty());
    let (directives, lines) = text.split_at(end.unwrap_or(text.len()));
    let Ok(steps) = parse(directives) else {
        return;
    };
    assert!(steps.iter().any(|step| matches!(step, Step::Act(_))));
    for step in &steps {
        if let Step::Select(pattern) | Step::Deselect(pattern) = step {
            for line in lines {
                assert_eq!(pattern.matches(line), pattern.matches(line));
            }
        }
    }
}
