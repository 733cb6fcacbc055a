//! Habits of code that a search can check.

use super::Findings;
use super::tree::Tree;

/// A word that shipped code under some paths does not have.
struct Rule {
    word: &'static str,
    /// Prefixes of the paths it holds for.
    within: &'static [&'static str],
    /// Prefixes of paths in there that may have it, each with its reason in a comment.
    except: &'static [&'static str],
    instead: &'static str,
}

/// What runs as PID 1 or as root.
const PRIVILEGED: &[&str] = &[
    "crates/engine/",
    "crates/wire/",
    "crates/s6/",
    "crates/sys/",
    "crates/init/",
];
const SHIPPED: &[&str] = &["crates/"];

/// Root at work in a home that agents write to (lesson L27).
const SETUP: &[&str] = &["crates/init/src/setup/"];
const BY_DESCRIPTOR: &str = "a path in the home leads where its user wants: use herm_sys::fs_at";

/// What of it works outside the home, in what is root's.
const ROOTS_OWN: &[&str] = &[
    // /etc/passwd and /etc/group.
    "crates/init/src/setup/identity.rs",
    // /var/run/docker.sock: its owner, and nothing is changed.
    "crates/init/src/setup/docker_socket.rs",
    // /etc/cont-init.d.
    "crates/init/src/setup/hooks.rs",
    "crates/init/src/setup/image.rs",
    // All disks are synced, by no path.
    "crates/init/src/setup/finish.rs",
    // What its rules name is opened without following a link, and changed by that descriptor.
    "crates/init/src/setup/fix_attrs.rs",
    // PATH: who can write to its directories, and whether a program is there.
    "crates/init/src/setup/search_path.rs",
    "crates/init/src/setup/mod.rs",
    // /etc/s6-overlay, /etc/services.d and what /run gets of them.
    "crates/init/src/setup/overlay.rs",
    "crates/init/src/setup/overlay/directory.rs",
    "crates/init/src/setup/overlay/sources.rs",
    // The beginning of CMD's own program, which nothing is done with but reading.
    "crates/init/src/setup/way_in.rs",
];

const RULES: &[Rule] = &[
    Rule {
        word: ".unwrap()",
        within: PRIVILEGED,
        except: &[],
        instead: "PID 1 does not panic: handle the case or carry the error",
    },
    Rule {
        word: ".expect(",
        within: PRIVILEGED,
        except: &[],
        instead: "PID 1 does not panic: handle the case or carry the error",
    },
    Rule {
        word: "panic!",
        within: PRIVILEGED,
        except: &[],
        instead: "PID 1 does not panic",
    },
    Rule {
        word: "unreachable!",
        within: PRIVILEGED,
        except: &[],
        instead: "make the state impossible to write, or handle it",
    },
    Rule {
        word: "unsafe {",
        within: &["crates/", "xtask/", "tests/"],
        except: &["crates/sys/"],
        instead: "only crates/sys has unsafe code",
    },
    Rule {
        word: "unsafe fn",
        within: &["crates/", "xtask/", "tests/"],
        except: &["crates/sys/"],
        instead: "only crates/sys has unsafe code",
    },
    Rule {
        word: "unsafe impl",
        within: &["crates/", "xtask/", "tests/"],
        except: &["crates/sys/"],
        instead: "only crates/sys has unsafe code",
    },
    Rule {
        word: "sleep(",
        within: &["crates/", "xtask/"],
        except: WAITING,
        instead: "wait for the event, or for a deadline in the one poll",
    },
    Rule {
        word: "fs::",
        within: SETUP,
        except: ROOTS_OWN,
        instead: BY_DESCRIPTOR,
    },
    Rule {
        word: "File::open",
        within: SETUP,
        except: ROOTS_OWN,
        instead: BY_DESCRIPTOR,
    },
    Rule {
        word: ".exists()",
        within: SETUP,
        except: ROOTS_OWN,
        instead: BY_DESCRIPTOR,
    },
    Rule {
        word: ".is_dir()",
        within: SETUP,
        except: ROOTS_OWN,
        instead: BY_DESCRIPTOR,
    },
    Rule {
        word: ".is_file()",
        within: SETUP,
        except: ROOTS_OWN,
        instead: BY_DESCRIPTOR,
    },
    Rule {
        word: "canonicalize",
        within: SETUP,
        except: ROOTS_OWN,
        instead: BY_DESCRIPTOR,
    },
    Rule {
        word: "cfg!(test)",
        within: SHIPPED,
        except: &[],
        instead: "pass the dependency; doubles live in crates/testkit",
    },
    Rule {
        word: "test_utils",
        within: SHIPPED,
        except: &[],
        instead: "doubles live in crates/testkit",
    },
];

/// Who may wait for time to pass.
const WAITING: &[&str] = &[
    // The same as for herm's client; a watched log and the answer of another machine's instance are
    // looked at, because inotify instances are few; and the same as for the gateway's server.
    "crates/dashboard/src/live.rs",
    "crates/dashboard/src/logs/feed.rs",
    "crates/dashboard/src/remote.rs",
    "crates/dashboard/src/server.rs",
    // One arm of a select: the limit on draining.
    "crates/gateway/src/lifecycle.rs",
    // accept(2) fails for want of descriptors, and nothing tells when there are some again.
    "crates/gateway/src/server.rs",
    // Look for a supervisor that is being replaced; a socket that is not there has no event.
    "crates/herm/src/client/mod.rs",
    "crates/herm/src/keeper/session.rs",
    "crates/herm/src/top/mod.rs",
    // Waits for Docker's own start, which has no event for us.
    "xtask/src/host.rs",
];

/// Words that shipped code has and shall not, and files that do not say what they are.
pub(crate) fn check(tree: &Tree) -> Findings {
    let mut findings = Findings::new();
    for (path, source) in &tree.sources {
        for rule in RULES.iter().filter(|rule| rule.holds_for(path)) {
            for line in source.lines_with(rule.word) {
                findings.push(format!("{path}:{line}: `{}`: {}", rule.word, rule.instead));
            }
        }
        if !has_module_doc(&tree.texts[path]) {
            findings.push(format!(
                "{path}:1: the file does not begin with a module doc (`//! …`)"
            ));
        }
    }
    findings.extend(unlocked_crates(tree));
    findings
}

impl Rule {
    fn holds_for(&self, path: &str) -> bool {
        let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| path.starts_with(prefix));
        begins(self.within) && !begins(self.except)
    }
}

fn has_module_doc(text: &str) -> bool {
    text.lines()
        .find(|line| !line.trim().is_empty() && !line.starts_with("#!"))
        .is_some_and(|line| line.starts_with("//!"))
}

/// Crate roots that do not forbid what their crate must not have.
fn unlocked_crates(tree: &Tree) -> Findings {
    let mut findings = Findings::new();
    for (path, source) in &tree.sources {
        let crate_root = path.ends_with("src/lib.rs")
            || path.ends_with("src/main.rs")
            || path.contains("/src/bin/");
        if crate_root
            && !path.starts_with("crates/sys/")
            && !source.masked.contains("#![forbid(unsafe_code)]")
        {
            findings.push(format!(
                "{path}: a crate's root says `#![forbid(unsafe_code)]`"
            ));
        }
    }
    for name in ["engine", "s6", "wire"] {
        let path = format!("crates/{name}/src/lib.rs");
        if tree
            .sources
            .get(&path)
            .is_some_and(|source| !source.masked.contains("#![no_std]"))
        {
            findings.push(format!("{path}: a pure crate's root says `#![no_std]`"));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> usize {
        check(&Tree::of([(path.to_owned(), text.to_owned())].into())).len()
    }

    #[test]
    fn pid_1_has_no_way_to_panic_by_itself() {
        assert_eq!(
            found(
                "crates/init/src/a.rs",
                "//! A.\nfn a() { b().unwrap(); c.expect(\"d\"); panic!() }"
            ),
            3
        );
        assert_eq!(
            found(
                "crates/init/src/a.rs",
                "//! A.\n#[cfg(test)]\nmod tests { fn a() { b().unwrap() } }"
            ),
            0
        );
        assert_eq!(
            found("crates/herm/src/a.rs", "//! A.\nfn a() { b().unwrap(); }"),
            0
        );
    }

    #[test]
    fn unsafe_code_is_syss() {
        assert_eq!(
            found("crates/home/src/a.rs", "//! A.\nfn a() { unsafe { b() } }"),
            1
        );
        assert_eq!(
            found("crates/sys/src/a.rs", "//! A.\nfn a() { unsafe { b() } }"),
            0
        );
    }

    #[test]
    fn l27_root_takes_no_path_into_the_home() {
        let text = "//! A.\nfn a() { std::fs::read(b); c.exists(); File::open(d); }";
        assert_eq!(found("crates/init/src/setup/home.rs", text), 3);
        assert_eq!(found("crates/init/src/setup/identity.rs", text), 0);
        assert_eq!(found("crates/home/src/files/mod.rs", text), 0);
    }

    #[test]
    fn waiting_for_time_to_pass_needs_leave() {
        assert_eq!(
            found(
                "crates/herm/src/a.rs",
                "//! A.\nfn a() { thread::sleep(b) }"
            ),
            1
        );
        assert_eq!(
            found("xtask/src/host.rs", "//! A.\nfn a() { thread::sleep(b) }"),
            0
        );
    }

    #[test]
    fn a_file_says_what_it_is() {
        assert_eq!(found("crates/herm/src/a.rs", "use b;\n"), 1);
    }

    #[test]
    fn a_crates_root_forbids_unsafe_code_and_a_pure_ones_the_standard_library() {
        assert_eq!(found("crates/herm/src/lib.rs", "//! A.\n"), 1);
        assert_eq!(
            found(
                "crates/engine/src/lib.rs",
                "//! A.\n#![forbid(unsafe_code)]\n"
            ),
            1
        );
        assert_eq!(
            found(
                "crates/engine/src/lib.rs",
                "//! A.\n#![no_std]\n#![forbid(unsafe_code)]\n"
            ),
            0
        );
    }
}
