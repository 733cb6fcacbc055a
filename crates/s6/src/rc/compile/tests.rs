//! What compiles, what is refused and with which words, and an order for any graph.

use super::super::source::Node;
use super::*;
use proptest::prelude::*;

/// Definitions from lines: `NAME file=content …`, a directory of names as `file/=a,b`.
fn definitions(text: &str) -> Vec<Definition> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let define = |line: &str| {
        let mut words = line.split(' ');
        let name = words.next().unwrap_or_default().to_string();
        let entry = |word: &str| {
            let (file, content) = word.split_once('=').unwrap_or((word, ""));
            let content = content.replace("\\n", "\n").replace('~', " ");
            match file.strip_suffix('/') {
                Some(dir) => {
                    let names = content.split(',').filter(|name| !name.is_empty());
                    (
                        dir.to_string(),
                        Node::Directory(names.map(str::to_string).collect()),
                    )
                }
                None => (file.to_string(), Node::File(content.into_bytes())),
            }
        };
        Definition {
            path: format!("/src/{name}"),
            name,
            entries: words.map(entry).collect(),
        }
    };
    lines.map(define).collect()
}

fn compiled(text: &str) -> Compiled {
    compile(&definitions(text), &["base"]).unwrap()
}

fn error(text: &str) -> String {
    compile(&definitions(text), &["base"])
        .unwrap_err()
        .to_string()
}

const SAMPLE: &str = "
    web type=longrun\\n run=x dependencies.d/=db,base notification-fd=3
    db type=longrun run=x dependencies.d/=prepare
    prepare type=oneshot up=mkdir~-p~/run/x\\n timeout-up=5000 flag-essential
    user type=bundle contents.d/=web
";

#[test]
fn services_come_after_what_they_need() {
    let database = compiled(SAMPLE).database;
    let names: Vec<&str> = database.services.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["prepare", "db", "web"]);
    let prepare = database.service("prepare").unwrap();
    assert_eq!(prepare.up, [&b"mkdir"[..], b"-p", b"/run/x"]);
    assert_eq!((prepare.timeout_up, prepare.essential), (5000, true));
    assert_eq!(database.service("web").unwrap().dependencies, ["db"]);
    let all = |services: Vec<&Service>| -> Vec<String> {
        services.iter().map(|s| s.name.clone()).collect()
    };
    assert_eq!(all(database.atomics("user").unwrap()), ["web"]);
    assert_eq!(
        all(database.with_dependencies(&["web"])),
        ["prepare", "db", "web"]
    );
    assert_eq!(
        all(database.with_dependents(&["prepare"])),
        ["web", "db", "prepare"]
    );
    assert_eq!(database.atomics("nope"), None);
}

#[test]
fn what_is_wrong_is_named_with_its_file_and_line() {
    for (source, expected) in [
        (
            "a run=x",
            "/src/a/type: there is no such file; it says oneshot, longrun or bundle",
        ),
        (
            "a type=daemon run=x",
            "/src/a/type:1: \"daemon\" is no type; it must be oneshot, longrun or bundle",
        ),
        (
            "a type=longrun~ run=x",
            "/src/a/type:1: \"longrun \" is no type; it must be oneshot, longrun or bundle",
        ),
        ("a type=oneshot", "/src/a/up: a oneshot needs this file"),
        (
            "a type=longrun",
            "/src/a/run: a longrun needs this regular file",
        ),
        (
            "a type=bundle",
            "/src/a/contents.d: a bundle needs this directory, or a file contents",
        ),
        ("a type=oneshot up=x\\n{~y", "/src/a/up:2: unmatched {"),
        (
            "a type=oneshot up=x dependencies.d/=b",
            "/src/a/dependencies.d/b: \"b\" is not defined in any source",
        ),
        (
            "a type=oneshot up=x dependencies=#c\\nb",
            "/src/a/dependencies:2: \"b\" is not defined in any source",
        ),
        (
            "a type=oneshot up=x dependencies.d/=a",
            "/src/a: it depends on itself: a -> a",
        ),
        (
            "a type=bundle contents.d/=a",
            "/src/a/contents.d/a: a contains itself: a -> a",
        ),
        (
            "a type=oneshot up=x\na type=oneshot up=x",
            "/src/a: a is defined already in /src/a",
        ),
        (
            "s6rc-a type=oneshot up=x",
            "/src/s6rc-a: names that start with s6rc- or s6-rc- are s6-rc's own",
        ),
        (
            "a type=oneshot up=x timeout-up=",
            "/src/a/timeout-up:1: it must hold a number and nothing else",
        ),
        (
            "a type=oneshot up=x timeout-down=3~",
            "/src/a/timeout-down:1: it must hold a number and nothing else",
        ),
        (
            "a type=longrun run=x notification-fd=3 lock-fd=3",
            "/src/a/lock-fd:1: it is the same number as in notification-fd",
        ),
        (
            "a type=longrun run=x producer-for=b\nb type=longrun run=x",
            "/src/a/producer-for:1: b does not name a in its consumer-for",
        ),
        (
            "a type=longrun run=x producer-for=b\nb type=oneshot up=x",
            "/src/a/producer-for:1: b is not a longrun",
        ),
        (
            "a type=longrun run=x producer-for=b\\nc",
            "/src/a/producer-for: it must hold one name and no more",
        ),
        (
            "a type=longrun run=x producer-for=b",
            "/src/a/producer-for:1: \"b\" is not defined in any source",
        ),
    ] {
        assert_eq!(error(source), expected, "{source}");
    }
    let circle =
        error("a type=oneshot up=x dependencies.d/=b\nb type=oneshot up=x dependencies.d/=a");
    assert_eq!(circle, "/src/a: it depends on itself: a -> b -> a");
}

/// Each is what the genuine compiler, release 0.5.4.1, said of the same sources.
#[test]
fn what_the_genuine_compiler_takes_or_refuses_is_taken_or_refused() {
    for taken in [
        "a type=longrun\\nfoo run=x",
        "a type=oneshot\\n\\n up=x",
        "a type=oneshot up=x producer-for=b\nb type=longrun run=x",
        "a type=oneshot up=x consumer-for=nope pipeline-name=",
        "a type=longrun run=x producer-for=b\\nb\nb type=longrun run=x consumer-for=a\\n\\na",
        "a type=longrun run=x consumer-for= pipeline-name=",
        "a type=longrun run=x notification-fd=2 lock-fd=2",
        "a type=longrun run=x notification-fd=3\\nfoo",
        "a type=longrun run=x timeout-up=5\\n\\n timeout-down=007",
        "a type=oneshot up=x dependencies=#~nope\\n~~base",
        "a type=oneshot up=x dependencies.d/= dependencies=nope",
    ] {
        compiled(taken);
    }
    for refused in [
        "a type=bundle\\nfoo contents.d/=",
        "a type=bundle\\n\\n contents.d/=",
        "a type/= run=x",
        "a type=longrun run/=",
        "a type=longrun run=x finish/=",
        "a type=longrun run=x data=x",
        "a type=longrun run=x env=x",
        "a type=longrun run=x template=x",
        "a type=oneshot up/=",
        "a type=oneshot up=x down/=",
        "a type=oneshot up=x timeout-up/=",
        "a type=oneshot up=x timeout-up=5\\nfoo",
        "a type=oneshot up=x dependencies.d=base dependencies=base",
        "a type=oneshot up=x dependencies/=",
        "a type=oneshot up=x dependencies=base~",
        "a type=oneshot dependencies=base\r up=x",
        "a type=bundle contents.d=",
        "a type=longrun run=x notification-fd=3~",
        "a type=longrun run=x lock-fd=x",
        "a type=longrun run=x timeout-kill=",
        "a type=longrun run=x timeout-finish=+3",
        "a type=longrun run=x max-death-tally=-1",
        "a type=longrun run=x producer-for=",
        "a type=longrun run=x producer-for=a consumer-for=a",
        "a type=longrun run=x producer-for=b\nb type=longrun run=x consumer-for=a pipeline-name=",
        "a type=longrun run=x producer-for=b\nb type=longrun run=x consumer-for=a pipeline-name=c\\nd",
        "a type=longrun run=x producer-for=b\nb type=longrun run=x consumer-for=a pipeline-name=a",
        "a type=longrun run=x producer-for=b\nb type=longrun run=x consumer-for=a pipeline-name=s6rc-p",
        "a type=longrun run=x consumer-for=b\nb type=oneshot up=x producer-for=a",
        "b type=bundle contents.d/=a\na type=oneshot up=x dependencies.d/=b",
    ] {
        error(refused);
    }
}

#[test]
fn a_list_of_names_may_have_comments_in_any_encoding() {
    let mut all = definitions("a type=oneshot up=x");
    let content = b"# \xe9t\xe9\nbase\n".to_vec();
    all[0]
        .entries
        .push((String::from("dependencies"), Node::File(content)));
    assert!(compile(&all, &["base"]).is_ok());
}

#[test]
fn a_pipeline_is_a_bundle_and_its_producers_need_their_consumers() {
    let compiled = compiled(
        "a type=longrun run=x producer-for=b
         b type=longrun run=x consumer-for=a producer-for=c
         c type=longrun run=x consumer-for=b pipeline-name=all
         lone type=longrun run=x pipeline-name=none notification-fd=1",
    );
    let database = &compiled.database;
    assert_eq!(database.service("a").unwrap().dependencies, ["b"]);
    assert_eq!(database.service("c").unwrap().consumer_for, ["b"]);
    let all: Vec<&str> = database
        .atomics("all")
        .unwrap()
        .iter()
        .map(|s| s.name.as_str())
        .collect();
    assert_eq!(all, ["c", "b", "a"]);
    let warnings: Vec<&str> = compiled.warnings.iter().map(|w| w.file.as_str()).collect();
    assert_eq!(
        warnings,
        ["/src/lone/notification-fd", "/src/lone/pipeline-name"]
    );
    assert!(
        error(
            "a type=longrun run=x producer-for=b consumer-for=b
        b type=longrun run=x producer-for=a consumer-for=a"
        )
        .contains("depends on itself")
    );
}

#[test]
fn an_essential_bundle_makes_its_members_essential() {
    let database =
        compiled("b type=bundle contents.d/=a flag-essential\na type=oneshot up=").database;
    assert!(database.service("a").unwrap().essential);
    assert!(database.service("a").unwrap().up.is_empty());
}

#[test]
fn a_database_survives_its_text_but_for_the_scripts() {
    let mut database = compiled(&format!(
        "{SAMPLE}\np type=longrun run=x producer-for=c\nc type=longrun run=x consumer-for=p"
    ))
    .database;
    for service in &mut database.services {
        service.up.clear();
    }
    assert_eq!(Database::parse(&database.to_text()), database);
}

#[test]
fn a_name_that_ends_in_a_carriage_return_survives_the_databases_text() {
    let mut all = definitions("b type=bundle contents.d/=");
    all[0].name = String::from("b\r");
    let database = compile(&all, &["base"]).unwrap().database;
    assert_eq!(Database::parse(&database.to_text()), database);
}

proptest! {
    /// Any graph is either refused for a cycle or put in an order that respects it.
    #[test]
    fn a_graph_compiles_exactly_if_it_has_no_cycle(edges in proptest::collection::vec((0..6_u8, 0..6_u8), 0..12)) {
        let name = |n: u8| format!("s{n}");
        let sources: Vec<String> = (0..6_u8).map(|n| {
            let needs: Vec<String> = edges.iter().filter(|(from, _)| *from == n).map(|(_, to)| name(*to)).collect();
            format!("{} type=oneshot up=x dependencies.d/={}", name(n), needs.join(","))
        }).collect();
        let source = sources.join("\n");
        // Reachability by repeated squaring, written another way than the compiler's.
        let mut reach = [[false; 6]; 6];
        for (from, to) in &edges { reach[usize::from(*from)][usize::from(*to)] = true; }
        for via in 0..6 { for from in 0..6 { for to in 0..6 {
            if reach[from][via] && reach[via][to] { reach[from][to] = true; }
        } } }
        let cyclic = (0..6).any(|n| reach[n][n]);
        match compile(&definitions(&source), &[]) {
            Ok(compiled) => {
                prop_assert!(!cyclic);
                let order: Vec<&str> = compiled.database.services.iter().map(|s| s.name.as_str()).collect();
                let place = |n: u8| order.iter().position(|other| *other == name(n)).unwrap();
                for (from, to) in &edges { prop_assert!(place(*to) < place(*from)); }
            }
            Err(error) => {
                prop_assert!(cyclic);
                prop_assert!(error.problem.contains("depends on itself"));
            }
        }
    }
}
