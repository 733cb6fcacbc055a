//! What clients may send, and how many of them there may be.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use herm_wire::{ErrorCode, Op, State};

use crate::world::{Client, World, shell, sleeper};

#[test]
fn l21_hello_says_who_answers() {
    let world = World::new();
    let hello = world.booted().hello();
    assert_eq!(hello.program, "herm");
    assert_eq!(hello.pid, world.pid());
    assert!(hello.booted);
}

#[test]
fn malformed_requests_are_answered_and_harm_nobody() {
    let world = World::new();
    let mut client = world.booted();
    client.register(sleeper("a")).unwrap();
    for bad in [
        "\n",
        "{}\n",
        "null\n",
        "[1,2]\n",
        "{\"v\":1,\"id\":1,\"op\":\"explode\"}\n",
        "{\"v\":1,\"id\":1,\"op\":\"start\"}\n",
        "{\"v\":1,\"id\":-1,\"op\":\"hello\"}\n",
        "{\"v\":99,\"id\":5,\"op\":\"hello\"}\n",
        "\u{0}\u{1}\u{2}\n",
    ] {
        client.send_raw(bad.as_bytes()).unwrap();
        let error = client.receive().err.unwrap();
        assert_eq!(error.code, ErrorCode::BadRequest, "{bad:?}");
    }
    assert_eq!(client.services().len(), 1);
}

#[test]
fn a_request_of_ten_megabytes_ends_its_connection_only() {
    let world = World::new();
    let mut other = world.booted();
    let mut huge = world.connect();
    // It is cut off somewhere on the way.
    let _ = huge.send_raw(&vec![b'x'; 10 * 1024 * 1024]);
    while huge.line().is_some() {}
    assert_eq!(other.hello().program, "herm");
}

#[test]
fn random_bytes_are_survived() {
    let world = World::new();
    world.booted();
    let mut word = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..200 {
        let mut client = world.connect();
        let mut bytes = Vec::new();
        for _ in 0..64 {
            word ^= word << 13;
            word ^= word >> 7;
            word ^= word << 17;
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        bytes.push(b'\n');
        // The supervisor may hang up in the middle.
        let _ = client.send_raw(&bytes);
    }
    assert_eq!(world.connect().hello().pid, world.pid());
}

#[test]
fn a_reader_that_never_reads_is_dropped_and_nobody_waits_for_it() {
    let world = World::new();
    let mut client = world.booted();
    for number in 0..50 {
        let mut spec = sleeper(&format!("s{number}"));
        spec.initial = herm_wire::Desired::Down;
        client.register(spec).unwrap();
    }
    // It asks as long as anything takes its questions, and never reads an answer.
    let mut deaf = std::os::unix::net::UnixStream::connect(world.socket()).unwrap();
    deaf.set_nonblocking(true).unwrap();
    let question = b"{\"v\":1,\"id\":1,\"op\":\"status\"}\n".repeat(100);
    for _ in 0..20 {
        while std::io::Write::write(&mut deaf, &question).is_ok() {}
        client.hello();
    }
    assert_eq!(client.services().len(), 50);
}

#[test]
fn fifty_clients_at_once_each_get_their_own_answers() {
    let world = World::new();
    world.booted();
    std::thread::scope(|scope| {
        for number in 0..50 {
            let world = &world;
            scope.spawn(move || {
                let mut client = world.connect();
                let name = format!("s{number}");
                client.register(sleeper(&name)).unwrap();
                assert_eq!(client.start(&name).unwrap().state, State::Running);
                assert_eq!(client.stop(&name).unwrap().state, State::Down);
                if number % 2 == 0 {
                    client.unregister(&name).unwrap();
                }
            });
        }
    });
    let left = world.connect().services();
    assert_eq!(left.len(), 25);
    assert!(left.iter().all(|service| service.state == State::Down));
}

#[test]
fn running_out_of_descriptors_turns_clients_away_and_ends_nothing() {
    let world = World::through(
        &["/bin/sh", "-c", "ulimit -n 256; exec \"$@\"", "sh"],
        &[],
        &[],
    );
    let mut client = world.booted();
    client.register(sleeper("a")).unwrap();
    let before = client.start("a").unwrap().pid;
    let crowd: Vec<_> = (0..400)
        .filter_map(|_| std::os::unix::net::UnixStream::connect(world.socket()).ok())
        .collect();
    assert_eq!(client.service("a").pid, before);
    drop(crowd);
    world.until("others are let in again", || {
        let stream = std::os::unix::net::UnixStream::connect(world.socket()).ok()?;
        let mut another = Client::new(stream);
        another
            .send_raw(b"{\"v\":1,\"id\":1,\"op\":\"hello\"}\n")
            .ok()?;
        another.line()
    });
}

/// Not a test of its own: what the next one runs as another user.
#[test]
fn as_another_user() {
    let Ok(path) = std::env::var("HERM_TEST_SOCKET") else {
        return;
    };
    let mut client = Client::new(std::os::unix::net::UnixStream::connect(path).unwrap());
    assert_eq!(client.service("root-s").state, State::Running);
    for op in [
        Op::Stop {
            name: "root-s".to_owned(),
            options: crate::world::waiting(),
        },
        Op::Unregister {
            name: "root-s".to_owned(),
        },
        Op::Env {
            name: "root-s".to_owned(),
        },
        Op::Signal {
            name: "root-s".to_owned(),
            signal: "KILL".to_owned(),
        },
        Op::Register {
            spec: Box::new(shell("mine", "id > /tmp/herm-was-root")),
        },
        Op::Shutdown { exit_code: None },
        Op::Reexec,
        Op::AttachKeeper,
    ] {
        let error = client.ask(op.clone()).unwrap_err();
        assert_eq!(error.code, ErrorCode::NotPermitted, "{op:?}");
    }
}

#[test]
fn l22_a_stranger_may_look_and_may_change_nothing() {
    if !rustix::process::geteuid().is_root() {
        // Without root there is no second user to be.
        return;
    }
    let world = World::new();
    let mut client = world.booted();
    client.register(sleeper("root-s")).unwrap();
    let before = client.start("root-s").unwrap().pid;
    let dir = world.dir.path();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(dir, open).unwrap();
    // Where this binary was built may be closed to others; the copy is not.
    let copy = dir.join("client");
    std::fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    let status = Command::new(&copy)
        .args(["--exact", "requests::as_another_user", "--nocapture"])
        .env("HERM_TEST_SOCKET", world.socket())
        .uid(10_000)
        .gid(10_000)
        .current_dir("/")
        .status()
        .unwrap();
    assert!(status.success());
    assert_eq!(client.service("root-s").pid, before);
}
