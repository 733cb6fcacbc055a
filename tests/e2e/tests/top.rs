//! `herm top` in a real terminal, as the unprivileged user.

use herm_e2e::{Container, Image, SERVICE_USER, Tmux};

fn home() -> Container {
    let container = Container::of(&Image::herm_dev()).run();
    container.wait_booted();
    for profile in ["alpha", "writer"] {
        container
            .exec(&["herm", "profile", "create", profile])
            .succeeds();
    }
    container
        .exec(&["herm", "-p", "alpha", "gateway", "start"])
        .succeeds();
    container
}

fn top(container: &Container) -> Tmux {
    let user = format!("--user={SERVICE_USER}");
    Tmux::run(
        120,
        30,
        &[
            "docker",
            "exec",
            "-it",
            &user,
            container.name(),
            "herm",
            "top",
        ],
    )
}

/// The tree's line of a service.
fn row<'a>(screen: &'a str, name: &str) -> &'a str {
    screen
        .lines()
        .find(|line| line.starts_with(name))
        .unwrap_or_default()
}

#[test]
fn top_shows_the_tree_live_and_obeys_keys() {
    let container = home();
    let top = top(&container);
    top.shows("the verdict stands first", |screen| {
        screen.starts_with("1 of 1 gateway running")
    });
    top.shows("every gateway has its row", |screen| {
        row(screen, "gateway-alpha").contains("running")
            && row(screen, "gateway-writer").contains("down")
    });
    // What somebody else does is seen without a key.
    container
        .exec(&["herm", "-p", "writer", "gateway", "start"])
        .succeeds();
    top.shows("a start from elsewhere", |screen| {
        row(screen, "gateway-writer").contains("running")
    });
    // A filter leaves one, and the keys are about that one.
    top.press(&["/", "writer", "Enter"]);
    top.shows("the filter", |screen| {
        !screen.contains("gateway-alpha") && screen.contains("gateway-writer")
    });
    top.shows("the log of the chosen service", |screen| {
        screen.contains("listening on")
    });
    top.press(&["x", "n"]);
    top.press(&["x"]);
    top.shows("the question", |screen| {
        screen.contains("stop gateway-writer?")
    });
    top.press(&["y"]);
    top.shows("the stop", |screen| {
        row(screen, "gateway-writer").contains("down")
    });
    assert!(
        container
            .exec(&["herm", "-p", "writer", "gateway", "status"])
            .stdout
            .contains("down")
    );
    top.press(&["s"]);
    top.shows("the start", |screen| {
        row(screen, "gateway-writer").contains("running")
    });
    top.press(&["Escape"]);
    top.press(&["?"]);
    top.shows("the help", |screen| screen.contains("any key goes back"));
    top.press(&["Space"]);
    top.press(&["q"]);
    top.ends();
}

#[test]
fn top_survives_a_resize_and_the_supervisors_reexecution() {
    let container = home();
    let top = top(&container);
    top.shows("the tree", |screen| {
        row(screen, "gateway-alpha").contains("running")
    });
    for (columns, rows) in [(40, 8), (5, 3), (200, 50)] {
        top.resize(columns, rows);
    }
    top.shows("the tree in its new size", |screen| {
        row(screen, "gateway-alpha").contains("running")
    });
    container
        .exec_root("re-execution is root's", &["herm", "service", "reexec"])
        .succeeds();
    container
        .exec(&["herm", "-p", "writer", "gateway", "start"])
        .succeeds();
    top.shows("news of the supervisor's next life", |screen| {
        row(screen, "gateway-writer").contains("running")
    });
    top.press(&["C-c"]);
    top.ends();
}

#[test]
fn without_a_terminal_top_says_what_to_do_instead() {
    let container = home();
    let refused = container.exec(&["herm", "top"]);
    assert_eq!(refused.code, Some(2), "{refused}");
    assert!(refused.stderr.contains("herm status"), "{refused}");
}
