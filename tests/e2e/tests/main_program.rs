//! Chapter 3.6: what the container's CMD becomes, what it is given, and whose exit code counts.

use std::collections::BTreeSet;

use herm_e2e::{Container, Finished, Image, Options, Volume, docker};

/// Prints what the main program was given, one fact per line.
const FACTS: &str = r#"
echo "uid=$(id -u) gid=$(id -g) groups=$(id -G)"
echo "cwd=$PWD home=$HOME"
echo "foo=$FOO"
printf 'lines=%s\n' "$LINES_OF_IT"
[ "${EMPTY+set}" = set ] && echo "empty is set"
"#;

/// Standard output is then the main program's alone.
fn herm() -> Options {
    Container::of(&Image::herm_dev()).env("HERM_LOG_STDOUT", "none")
}

/// An image with an agent, as far as routing goes: a `hermes` on `PATH` that tells what it got.
fn with_agent() -> (Volume, Options) {
    let volume = Volume::new();
    let agent = "#!/bin/sh\necho agent as $(id -un): \"$@\"\n";
    Container::of(&Image::herm_dev())
        .volume(&volume, "/opt/agent")
        .flag("--entrypoint=sh")
        .command(&[
            "-c",
            "cat > /opt/agent/hermes && chmod 755 /opt/agent/hermes",
        ])
        .run_to_end_with_input(agent.as_bytes())
        .succeeds();
    let path = "/opt/agent:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let options = herm()
        .volume(&volume, "/opt/agent")
        .env("PATH", path)
        .env("HERM_MAIN", "");
    (volume, options)
}

fn ran(options: &Options, cmd: &[&str]) -> Finished {
    options.clone().command(cmd).run_to_end()
}

#[test]
fn a_program_on_the_path_runs_as_the_service_user_with_everything_the_container_was_given() {
    let run = herm()
        .env("FOO", "bar")
        .env("LINES_OF_IT", "a\nb")
        .env("EMPTY", "")
        .flag("--workdir=/var/tmp")
        .command(&["sh", "-c", FACTS])
        .run_to_end();
    assert_eq!(
        run.succeeds().lines().collect::<Vec<_>>(),
        [
            "uid=10000 gid=10000 groups=10000",
            "cwd=/var/tmp home=/opt/data",
            "foo=bar",
            "lines=a",
            "b",
            "empty is set",
        ]
    );
}

/// `docker run -e FOO=bar` was invisible to the main program; here nothing at all is missing or
/// changed but `HOME`, which is the service user's.
#[test]
fn l84_the_environment_of_the_main_program_is_the_containers() {
    let variables = |finished: &Finished| -> BTreeSet<String> {
        // Where s6-overlay's commands are, they are on PATH, as they are there.
        let with_commands = |line: &str| line.replace("PATH=/command:", "PATH=");
        let lines = finished.succeeds().split('\0').map(with_commands);
        lines
            .filter(|line| !line.is_empty() && !line.starts_with("HOSTNAME="))
            .collect()
    };
    let options = || herm().env("FOO", "bar").env("ODD.name", "x");
    let bare = options()
        .flag("--entrypoint=env")
        .command(&["-0"])
        .run_to_end();
    let given = ran(&options(), &["env", "-0"]);
    let (bare, given) = (variables(&bare), variables(&given));
    let added: Vec<_> = given.difference(&bare).cloned().collect();
    let names: Vec<_> = added
        .iter()
        .filter_map(|line| line.split('=').next())
        .collect();
    assert_eq!(names, ["HERM_RUN_DIR", "HOME"], "{added:?}");
    let missing: Vec<_> = bare.difference(&given).cloned().collect();
    assert_eq!(missing, ["HOME=/root"]);
}

#[test]
fn the_main_program_has_the_groups_of_its_user() {
    let script =
        "sed -i 's/^audio:.*/&hermes/; s/^video:.*/&hermes/' /etc/group && exec /init id -G";
    let run = herm()
        .flag("--entrypoint=sh")
        .command(&["-c", script])
        .run_to_end();
    let groups: BTreeSet<&str> = run.succeeds().split(' ').collect();
    assert_eq!(groups, BTreeSet::from(["10000", "29", "44"]));
}

#[test]
fn a_directory_that_the_user_can_not_enter_is_still_where_it_starts() {
    let run = herm()
        .flag("--workdir=/root")
        .command(&["sh", "-c", "readlink /proc/self/cwd"])
        .run_to_end();
    assert_eq!(run.succeeds(), "/root");
}

#[test]
fn words_that_name_no_program_go_to_the_agent() {
    let (_volume, options) = with_agent();
    for (cmd, expected) in [
        (&[][..], "agent as hermes:"),
        (&["chat", "-q", "a b"], "agent as hermes: chat -q a b"),
        (&["--version"], "agent as hermes: --version"),
        (&["--tui"], "agent as hermes: --tui"),
        (&["hermes", "chat"], "agent as hermes: chat"),
        (&["gateway", "list"], "agent as hermes: gateway list"),
        (
            &["gateway", "run", "--no-supervise"],
            "agent as hermes: gateway run --no-supervise",
        ),
        (&["echo", "gateway", "run"], "gateway run"),
    ] {
        assert_eq!(ran(&options, cmd).succeeds(), expected, "{cmd:?}");
    }
    let unsupervised = options.env("HERMES_GATEWAY_NO_SUPERVISE", "1");
    assert_eq!(
        ran(&unsupervised, &["gateway", "run"]).succeeds(),
        "agent as hermes: gateway run"
    );
}

#[test]
fn without_an_agent_its_words_are_herms() {
    let version = ran(&herm(), &["--version"]);
    assert!(version.succeeds().contains("herm"), "{version}");
    ran(&herm(), &["no-such-command"]).exits(2);
    let listed = ran(&herm(), &["profile", "list"]);
    assert!(listed.succeeds().contains("default"), "{listed}");
}

/// An image's own wrapper drops privileges itself, so it gets the container's user and directory.
#[test]
fn an_images_own_wrapper_runs_as_it_stands() {
    let volume = Volume::new();
    let wrapper = "#!/bin/sh\necho wrapped $(id -u) $PWD $HOME: \"$@\"\nexit 9\n";
    Container::of(&Image::herm_dev())
        .volume(&volume, "/w")
        .flag("--entrypoint=sh")
        .command(&[
            "-c",
            "cat > /w/main-wrapper.sh && chmod 755 /w/main-wrapper.sh",
        ])
        .run_to_end_with_input(wrapper.as_bytes())
        .succeeds();
    let run = herm()
        .volume(&volume, "/w")
        .command(&["/w/main-wrapper.sh", "gateway", "run"])
        .run_to_end();
    assert_eq!(
        run.exits(9),
        "wrapped 0 /opt/hermes /root: gateway run",
        "{run}"
    );
}

/// The thin ways in that compose files name: each is the CMD after it.
#[test]
fn herms_own_wrapper_and_entrypoint_change_nothing() {
    let (_volume, options) = with_agent();
    let wrapper = "/opt/hermes/docker/main-wrapper.sh";
    assert_eq!(
        ran(&options, &[wrapper, "chat", "-q", "hi"]).succeeds(),
        "agent as hermes: chat -q hi"
    );
    assert_eq!(
        ran(&options, &[wrapper, "sh", "-c", "id -u; echo $HOME"]).succeeds(),
        "10000\n/opt/data"
    );
    let entry = options.flag("--entrypoint=/opt/hermes/docker/entrypoint.sh");
    assert_eq!(ran(&entry, &["chat"]).succeeds(), "agent as hermes: chat");
}

#[test]
fn gateway_run_is_supervised_and_the_container_stays_up_when_it_stops() {
    for cmd in [&["gateway", "run"][..], &["hermes", "gateway", "run"]] {
        let container = herm().command(cmd).run();
        container.wait_booted();
        container.wait_states(&[("gateway-default", "running")]);
        container.exec(&["herm", "gateway", "stop"]).succeeds();
        container.wait_states(&[("gateway-default", "down")]);
        assert!(container.is_running());
        assert!(container.service("main").is_none());
        container.stop();
        assert_eq!(container.wait(), 0);
    }
}

/// The role follows from the CMD that herm itself started, not from what other processes look like.
#[test]
fn l36_the_dashboard_alone_leaves_the_profiles_to_another_container() {
    const LOOK: &str =
        "herm service wait gateway-default registered --timeout 60 >&2; herm status --json";
    let (_volume, options) = with_agent();
    let both = options.command(&["sh", "-c", LOOK]).run_to_end().json();
    assert!(named(&both, "keeper"), "{both}");
    assert_eq!(state_of_default(&both), "down");
    let script = format!("#!/bin/sh\n{LOOK}\n");
    let volume = Volume::new();
    Container::of(&Image::herm_dev())
        .volume(&volume, "/opt/agent")
        .flag("--entrypoint=sh")
        .command(&[
            "-c",
            "cat > /opt/agent/hermes && chmod 755 /opt/agent/hermes",
        ])
        .run_to_end_with_input(script.as_bytes())
        .succeeds();
    let path = "/opt/agent:/usr/bin:/bin";
    let alone = herm()
        .volume(&volume, "/opt/agent")
        .env("PATH", path)
        .command(&["dashboard"])
        .run_to_end()
        .json();
    assert!(named(&alone, "main"), "{alone}");
    assert_eq!(state_of_default(&alone), "disabled");
}

fn state_of_default(status: &serde_json::Value) -> &str {
    let services = status["services"].as_array().expect("services");
    let default = services
        .iter()
        .find(|service| service["name"] == "gateway-default");
    default
        .and_then(|service| service["state"].as_str())
        .unwrap_or_default()
}

fn named(status: &serde_json::Value, name: &str) -> bool {
    let services = status["services"].as_array();
    services.is_some_and(|all| all.iter().any(|service| service["name"] == name))
}

#[test]
fn no_program_means_the_container_lives_until_it_is_stopped() {
    let container = Container::of(&Image::herm_dev()).run();
    container.wait_booted();
    assert!(container.service("main").is_none());
    container.stop();
    assert_eq!(container.wait(), 0);
}

#[test]
fn a_program_that_can_not_be_run_is_126_and_one_that_is_not_there_127_and_it_is_said_why() {
    for (program, code, why) in [
        ("/no/such/program", 127, "No such file"),
        ("/etc", 126, "Permission denied"),
        ("/etc/passwd", 126, "Permission denied"),
    ] {
        // Without a home nothing is the agent's: the CMD is run as it stands.
        let options = herm().env("HERMES_HOME", "").env("HERM_LOG", "error");
        let run = ran(&options, &[program, "x"]);
        run.exits(code);
        let said = format!("herm: error: main: cannot execute {program}: {why}");
        assert!(run.stderr.contains(&said), "no word of why: {run}");
    }
}

#[test]
fn input_reaches_it_whole_and_ends() {
    let options = herm().command(&["sh", "-c", "wc -c; read line || echo at its end"]);
    let input = vec![b'x'; 300_000];
    assert_eq!(
        options.run_to_end_with_input(&input).succeeds(),
        "300000\nat its end"
    );
    // `docker run` without -i: standard input is /dev/null.
    let container = herm().command(&["sh", "-c", "cat; echo ended"]).run();
    assert_eq!(container.wait(), 0);
    assert_eq!(docker(&["logs", container.name()]).stdout, "ended\n");
}

/// Its output is its own: each byte arrives, on the stream it was written to, without a prefix.
#[test]
fn output_is_its_own_to_the_last_byte() {
    let script = "seq 1 200000; seq 1 100000 >&2; printf unfinished";
    let run = ran(&herm(), &["sh", "-c", script]);
    let lines = |up_to: u32| (1..=up_to).map(|n| n.to_string());
    assert!(run.is_success(), "{:?}", run.code);
    let (whole, torn) = run.stdout.rsplit_once('\n').unwrap();
    assert!(whole.split('\n').eq(lines(200_000)), "stdout differs");
    assert_eq!(torn, "unfinished");
    let is_herms = |line: &&str| line.starts_with("herm: ") || line.starts_with("setup: ");
    let mains = run.stderr.lines().filter(|line| !is_herms(line));
    assert!(mains.eq(lines(100_000)), "stderr differs");
}

#[test]
fn it_is_a_filter_between_pipes() {
    let run = herm()
        .command(&["tr", "a-z", "A-Z"])
        .run_to_end_with_input(b"shout\n");
    assert_eq!(run.succeeds(), "SHOUT");
    // A reader that goes away early ends it as it would end any filter.
    let broken = herm()
        .command(&["bash", "-c", "yes | head -n 1; echo ${PIPESTATUS[0]}"])
        .run_to_end();
    assert_eq!(broken.succeeds(), "y\n141");
}

/// Boots herm as PID 1 of a namespace of its own once for each argument in `$@`, each after the
/// other, and prints each argument with the exit code that came of it. Cheaper than a container for
/// each by the engine's whole share.
const EACH_IN_A_NAMESPACE: &str = r#"
script=$1; shift
for it in "$@"; do
    unshare --pid --fork --mount-proc /init sh -c "$script" main "$it" </dev/null >/tmp/out 2>&1
    echo "$it $?"
done
"#;

/// What herm's exit codes were for a main program run once with each of these arguments.
fn exit_codes(script: &str, arguments: &[String]) -> Vec<(String, i32)> {
    let container = Container::of(&Image::herm_dev())
        .can_unshare()
        .flag("--entrypoint=sleep")
        .command(&["infinity"])
        .run();
    let mut argv = vec!["sh", "-c", EACH_IN_A_NAMESPACE, "each", script];
    argv.extend(arguments.iter().map(String::as_str));
    let run = container.exec_root("new namespaces are root's to make", &argv);
    let pairs = run
        .succeeds()
        .lines()
        .filter_map(|line| line.split_once(' '));
    pairs
        .map(|(argument, code)| (argument.to_owned(), code.parse().unwrap_or(-1)))
        .collect()
}

#[test]
fn l43_all_256_exit_codes_and_all_signals_of_the_main_program_are_the_containers() {
    let codes: Vec<String> = (0..=255).map(|code| code.to_string()).collect();
    let expected: Vec<_> = codes.iter().cloned().zip(0..=255).collect();
    assert_eq!(exit_codes("exit $1", &codes), expected);
    // 32 and 33 are the C library's own; STOP, TSTP, TTIN, TTOU stop, CHLD, CONT, URG and WINCH do
    // nothing by default.
    let deadly = (1..=64).filter(|n| !matches!(n, 17..=23 | 28 | 32 | 33));
    let signals: Vec<String> = deadly.clone().map(|n| n.to_string()).collect();
    let expected: Vec<_> = signals
        .iter()
        .cloned()
        .zip(deadly.map(|n| 128 + n))
        .collect();
    assert_eq!(exit_codes("kill -$1 $$; exit 99", &signals), expected);
}

/// Signals came as exit 111, or not at all.
#[test]
fn l85_signals_reach_the_main_program_and_its_exit_code_is_the_containers() {
    let script = r#"
for signal in HUP QUIT USR1 USR2 WINCH ALRM PWR CONT; do trap "echo got $signal" $signal; done >/dev/null
trap 'echo got TERM; exit 42' TERM
echo waiting; while :; do sleep 0.05; done"#;
    let container = herm().command(&["bash", "-c", script]).run();
    let mut lines = container.follow_all_logs();
    lines.wait_for("the main program's", |line| line == "waiting");
    for signal in [
        "HUP", "QUIT", "USR1", "USR2", "WINCH", "ALRM", "PWR", "CONT",
    ] {
        container.kill(signal);
        let expected = format!("got {signal}");
        lines.wait_for(&expected, |line| line == expected);
    }
    container.kill("TERM");
    assert_eq!(container.wait(), 42);
    assert!(container.logs().contains("\ngot TERM\n"));
}

/// An interrupt is its own to answer: it is not told to terminate in the same breath.
#[test]
fn l85_an_interrupt_reaches_the_main_program_as_an_interrupt_only() {
    let script = r"
trap 'echo terminated' TERM
trap 'echo interrupted; exit 5' INT
echo waiting; while :; do sleep 0.05; done";
    let container = herm().command(&["bash", "-c", script]).run();
    let mut lines = container.follow_all_logs();
    lines.wait_for("the main program's", |line| line == "waiting");
    container.kill("INT");
    assert_eq!(container.wait(), 5);
    let logs = container.logs();
    let told = |word: &str| logs.lines().any(|line| line == word);
    assert!(told("interrupted") && !told("terminated"), "{logs}");
}

/// `docker stop` of a main program that obeys TERM without a code of its own.
#[test]
fn a_main_program_killed_by_the_stop_is_128_and_the_signals_number() {
    let container = herm().command(&["sleep", "infinity"]).run();
    container.wait_booted();
    container.stop();
    assert_eq!(container.wait(), 143);
}
