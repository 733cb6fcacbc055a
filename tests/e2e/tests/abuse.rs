//! Chapter 5, "PID 1 survives", and chapter 4's bad input: nothing lost, nothing else affected.

use std::collections::BTreeSet;

use herm_e2e::{Container, Image, Volume, wait_until};
use serde_json::json;

const HERMES: u32 = 10_000;

fn idle() -> Container {
    let container = Container::of(&Image::herm_dev())
        .command(&["sleep", "infinity"])
        .run();
    container.wait_booted();
    container
}

fn started_default() -> (Container, u64) {
    let container = idle();
    container.exec(&["herm", "gateway", "start"]).succeeds();
    let pid = container
        .service_field("gateway-default", "pid")
        .as_u64()
        .unwrap();
    (container, pid)
}

fn zombies(container: &Container) -> usize {
    container
        .sh("cat /proc/[0-9]*/stat 2>/dev/null | grep -c ') Z ' || true")
        .succeeds()
        .parse()
        .unwrap()
}

#[test]
fn l45_a_hundred_thousand_orphans_are_reaped() {
    const ORPHANS: &str = r"
        for (1..10000) {
            my $child = fork; defined $child or redo;
            if (!$child) { my $orphan = fork; exit 0 }
            waitpid $child, 0;
        }";
    let (container, gateway) = started_default();
    // In ten parts, so that none of them is taken for a hang on a slow machine.
    for _ in 0..10 {
        container.exec(&["perl", "-e", ORPHANS]).succeeds();
    }
    wait_until("no zombie is left", || zombies(&container) == 0);
    assert_eq!(container.service_field("gateway-default", "pid"), gateway);
}

#[test]
fn requests_that_are_none_harm_nobody() {
    let (container, gateway) = started_default();
    let random: Vec<u8> = (0..100_000_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()[0])
        .collect();
    let ten_megabytes = vec![b'x'; 10_000_000];
    let deep = [
        b"{\"v\":1,\"id\":1,\"op\":".as_slice(),
        &vec![b'['; 60_000],
        b"\n",
    ]
    .concat();
    for (what, bytes) in [
        ("random", random.as_slice()),
        ("10 MB", &ten_megabytes),
        ("deeply nested", &deep),
        ("no JSON", b"hello\n"),
        ("no UTF-8", b"\xff\xfe\n"),
        (
            "another version",
            b"{\"v\":999,\"id\":1,\"op\":\"hello\"}\n",
        ),
        (
            "an unknown operation",
            b"{\"v\":1,\"id\":1,\"op\":\"sudo\"}\n",
        ),
    ] {
        if let Some(answer) = container.control_bytes(HERMES, bytes) {
            assert!(answer["err"]["message"].is_string(), "{what}: {answer}");
        }
        assert!(container.answers(), "after {what}");
    }
    assert_eq!(container.service_field("gateway-default", "pid"), gateway);
}

#[test]
fn bad_names_are_refused_with_the_right_code() {
    let container = idle();
    let long = "x".repeat(300);
    for name in [
        "../x",
        "A B",
        long.as_str(),
        "default",
        "",
        "a/b",
        ".hidden",
        "x\ny",
    ] {
        let refused = container.exec(&["herm", "profile", "create", "--", name]);
        assert!(
            matches!(refused.code, Some(1 | 2)),
            "{name:?} was not refused: {refused}"
        );
        assert!(!refused.stderr.is_empty(), "{refused}");
    }
    container
        .exec(&["herm", "profile", "create", "-rf"])
        .exits(2);
    let unknown = container.exec(&["herm", "-p", "nobody", "gateway", "start"]);
    unknown.exits(4);
    assert!(
        unknown.stderr.contains("nobody") && unknown.stderr.contains("default"),
        "{unknown}"
    );
    container
        .exec(&["herm", "profile", "show", "nobody"])
        .exits(4);
    let kept = container.exec(&["herm", "profile", "delete", "default", "-y"]);
    assert!(matches!(kept.code, Some(1 | 2)), "{kept}");
    assert_eq!(
        container.sh("ls -A /opt/data/profiles").succeeds(),
        "",
        "something was made"
    );
}

#[test]
fn archives_that_lead_out_or_end_early_leave_nothing_behind() {
    const MAKE: &str = r"
        set -e; cd /tmp; mkdir -p evil/sub; echo soul > evil/SOUL.md; ln -s /etc evil/sub/link
        tar czf link.tar.gz evil
        echo x > outside; tar czPf dots.tar.gz --transform 's,^outside,evil/../../outside,' outside
        tar czPf absolute.tar.gz --transform 's,^outside,/tmp/planted,' outside
        head -c 200 good.tar.gz > half.tar.gz; head -c 4096 /dev/urandom > noise.tar.gz; : > empty.tar.gz
    ";
    let container = idle();
    container
        .exec(&["herm", "profile", "create", "good"])
        .succeeds();
    container
        .exec(&[
            "herm",
            "profile",
            "export",
            "good",
            "-o",
            "/tmp/good.tar.gz",
        ])
        .succeeds();
    container.sh(MAKE).succeeds();
    for archive in ["link", "dots", "absolute", "half", "noise", "empty"] {
        let path = format!("/tmp/{archive}.tar.gz");
        let refused = container.exec(&["herm", "profile", "import", &path, "--name", "victim"]);
        assert_eq!(refused.code, Some(1), "{archive}: {refused}");
        assert!(refused.stderr.contains(archive), "{refused}");
    }
    assert_eq!(container.sh("ls -A /opt/data/profiles").succeeds(), "good");
    assert!(!container.sh("test -e /tmp/planted").is_success());
    container
        .exec(&[
            "herm",
            "profile",
            "import",
            "/tmp/good.tar.gz",
            "--name",
            "twin",
        ])
        .succeeds();
    assert!(container.service("gateway-twin").is_some());
}

#[test]
fn a_log_directory_that_can_not_be_written_stops_no_gateway() {
    let container = idle();
    container
        .sh("mkdir -p /opt/data/logs/gateways/default && chmod 0 /opt/data/logs/gateways/default")
        .succeeds();
    container.exec(&["herm", "gateway", "start"]).succeeds();
    let port = container
        .service_field("gateway-default", "port")
        .as_u64()
        .unwrap();
    container.wait_healthy(u16::try_from(port).unwrap());
    assert!(container.answers());
}

/// Fifty clients, each with four profiles of its own, do what they like for a minute; meanwhile
/// PID 1 panics. What each profile is in the end is what its last successful command said.
#[test]
fn the_end_state_is_what_the_last_successful_commands_said_through_panics() {
    const CLIENT: &str = r#"
        client=$1; end=$((SECONDS + 60)); declare -A last
        while [ $SECONDS -lt $end ]; do
            name=c$client-$((RANDOM % 4))
            case $((RANDOM % 4)) in
                0) herm profile create $name && last[$name]=down ;;
                1) herm -p $name gateway start --no-wait && last[$name]=up ;;
                2) herm -p $name gateway stop && last[$name]=down ;;
                3) herm profile delete $name -y && unset "last[$name]" ;;
            esac >/dev/null 2>&1
        done
        for name in "${!last[@]}"; do echo "$name ${last[$name]}"; done
    "#;
    const CROWD: &str = r#"for c in $(seq 50); do bash -c "$0" client $c & done; wait"#;
    let volume = Volume::new();
    let container = Container::of(&Image::herm_dev())
        .volume(&volume, "/opt/data")
        .command(&["sleep", "infinity"])
        .run();
    container.wait_booted();
    container.exec(&["herm", "gateway", "start"]).succeeds();
    let bystander = container.service_field("gateway-default", "pid");
    let told = std::thread::scope(|scope| {
        let crowd = scope.spawn(|| container.exec(&["bash", "-c", CROWD, CLIENT]));
        let mut panics = 0;
        while !crowd.is_finished() {
            if panics < 2 {
                container
                    .exec_root(
                        "only root may make PID 1 panic",
                        &["sh", "-c", "kill -60 1"],
                    )
                    .succeeds();
                panics += 1;
            }
            assert!(container.answers());
            // Spreads the panics over the crowd's minute; nothing is waited for.
            std::thread::sleep(std::time::Duration::from_secs(2));
        }
        crowd.join().unwrap()
    });
    container.exec(&["herm", "reconcile"]).succeeds();
    let wanted: BTreeSet<(String, String)> = told
        .succeeds()
        .lines()
        .map(|line| line.split_once(' ').unwrap())
        .map(|(name, want)| (name.to_owned(), want.to_owned()))
        .collect();
    let found: BTreeSet<(String, String)> = container
        .services()
        .iter()
        .filter(|service| service["kind"] == "gateway" && service["profile"] != "default")
        .map(|service| {
            let text = |field: &str| service[field].as_str().unwrap().to_owned();
            (text("profile"), text("desired"))
        })
        .collect();
    assert_eq!(found, wanted);
    assert!(!wanted.is_empty());
    assert_eq!(container.service_field("gateway-default", "pid"), bystander);
}

#[test]
fn l83_a_name_is_free_again_as_soon_as_it_is_unregistered() {
    const AGAIN: &str = r#"
        use IO::Socket::UNIX;
        my $s = IO::Socket::UNIX->new(Peer => "/run/herm/control.sock") or die $!;
        for my $n (1..1000) {
            for my $op ('"register","spec":{"name":"again","kind":"service","argv":["sleep","infinity"],"initial":"up"}',
                        '"unregister","name":"again"') {
                print $s qq({"v":1,"id":$n,"op":$op}\n); $s->flush;
                my $answer = <$s>;
                die "$n: $answer" unless $answer =~ /"ok"/;
            }
        }
    "#;
    let container = idle();
    container.exec(&["perl", "-e", AGAIN]).succeeds();
    assert!(container.service("again").is_none());
    assert_eq!(
        container.processes("sleep infinity").len(),
        1,
        "the main program's"
    );
    assert_eq!(zombies(&container), 0);
}

#[test]
fn l82_a_registration_that_can_not_be_supervised_fails_to_its_caller() {
    let container = Container::of(&Image::herm_dev())
        .flag("--ulimit=nofile=512:512")
        .command(&["sleep", "infinity"])
        .run();
    container.wait_booted();
    let mut refused = None;
    for number in 0..600 {
        let spec = json!({"name": format!("s{number}"), "kind": "service",
                          "argv": ["sleep", "infinity"], "initial": "up"});
        let answer = container.control(HERMES, &json!({"op": "register", "spec": spec}));
        if answer["ok"].is_null() {
            refused = Some((number, answer));
            break;
        }
    }
    let (number, answer) = refused.expect("600 services fit into 512 descriptors");
    assert_eq!(answer["err"]["code"], "no_capacity", "{answer}");
    assert!(number > 10, "only {number} services fit");
    assert!(container.service(&format!("s{number}")).is_none());
    for taken in 0..number {
        let name = format!("s{taken}");
        wait_until("all that were taken run", || {
            container.service_field(&name, "state") == "running"
        });
    }
}

#[test]
fn l31_the_supervisor_is_known_by_what_answers_its_socket() {
    let container = idle();
    // Neither the name of PID 1 nor its program needs to be readable.
    let hello = container.control(4_321, &json!({"op": "hello"}));
    assert_eq!(hello["ok"]["program"], "herm");
    let status = container.exec(&["herm", "status", "--json"]).json();
    assert_eq!(status["manager"], "herm");
}
