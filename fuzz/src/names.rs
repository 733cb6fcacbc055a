//! Names of services and profiles: what is accepted is harmless as a path component, an argument
//! and a word of a log line, and the two kinds fit each other.

use herm_home::name::{MAX_NEW_LEN, ProfileName};
use herm_wire::{ServiceName, nearest};

/// A text as either kind of name.
pub fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(name) = ServiceName::parse(&text) {
        assert_eq!(name.as_str(), text);
        harmless(name.as_str());
        assert!(name.as_str().len() <= herm_wire::name::MAX_NAME_BYTES);
    }
    if let Ok(name) = ProfileName::from_input(&text) {
        harmless(name.as_str());
        assert_eq!(ProfileName::parse(name.as_str()).as_ref(), Ok(&name));
        let service = ServiceName::parse(&name.service()).expect("a profile has a service");
        assert_eq!(ProfileName::from_service(service.as_str()), Some(name));
    }
    if let Ok(name) = ProfileName::for_new(&text) {
        assert!(name.as_str().len() <= MAX_NEW_LEN && !name.is_default());
        assert_eq!(ProfileName::from_input(&text), Ok(name));
    }
    if let Some(name) = ProfileName::from_service(&text) {
        assert_eq!(name.service(), text);
    }
    let known = ["writer", "coder", "default"];
    if let Some(near) = nearest(&text, known) {
        assert!(known.contains(&near));
    }
    if known.contains(&text.as_ref()) {
        assert_eq!(nearest(&text, known), Some(text.as_ref()));
    }
}

fn harmless(name: &str) {
    assert!(!name.is_empty() && !name.starts_with(['.', '-']));
    assert!(
        name.bytes()
            .all(|b| b.is_ascii_graphic() && b != b'/' && b != b'\\')
    );
}
