//! Chapter 3.6: the main program on a terminal (`docker run -it`).

use herm_e2e::{Container, Image, Options, Terminal};

fn herm() -> Options {
    Container::of(&Image::herm_dev())
        .env("HERM_LOG", "warn")
        .env("HERM_LOG_STDOUT", "none")
        .env("PS1", "prompt> ")
}

/// A shell on a terminal, below Docker alone and below its init too.
fn shells() -> Vec<(&'static str, Options)> {
    let shell = herm().command(&["bash", "--norc", "-i"]);
    vec![("PID 1", shell.clone()), ("--init", shell.flag("--init"))]
}

fn at_prompt(options: &Options) -> (Container, Terminal) {
    let (container, mut terminal) = options.run_in_terminal();
    terminal.wait_for("prompt> ");
    (container, terminal)
}

/// Ctrl-C, Ctrl-Z and `fg` were nobody's in a shell below s6-overlay.
#[test]
fn l46_a_shell_has_job_control() {
    for (below, options) in shells() {
        println!("below {below}");
        let (_container, mut terminal) = at_prompt(&options);
        // The words are cut in two where they are typed, so that their echo is not taken for them. Without a child:
        // one that Ctrl-Z meets between vfork and exec stops there, and its parent, which waits for it, never does.
        terminal.type_in(
            "perl -e '$| = 1; $SIG{CONT} = sub { print \"contin\" . \"ued\\n\" }; \
             print \"sle\" . \"eping\\n\"; sleep 1 while 1'\r",
        );
        terminal.wait_for("sleeping");
        terminal.type_in("\x1a");
        terminal.wait_for("Stopped");
        terminal.wait_for("prompt> ");
        terminal.type_in("jobs -p | wc -l\r");
        terminal.wait_for("\r1\r\n");
        terminal.wait_for("prompt> ");
        terminal.type_in("fg\r");
        // The shell names the job before it gives it the terminal, and continues it after that.
        terminal.wait_for("continued");
        terminal.type_in("\x03");
        terminal.wait_for("prompt> ");
        terminal.type_in("echo co''de=$?\r");
        terminal.wait_for("code=130");
        terminal.type_in("exit 7\r");
        assert_eq!(terminal.exit_code(), Some(7), "{below}");
        assert!(terminal.is_sane(), "{below}");
    }
}

#[test]
fn l46_ctrl_c_ends_the_main_program_with_its_own_code() {
    for init in [false, true] {
        let script = "trap 'echo caught; exit 9' INT; echo rea''dy; while :; do sleep 0.1; done";
        let options = herm().command(&["bash", "-c", script]);
        let options = if init {
            options.flag("--init")
        } else {
            options
        };
        let (_container, mut terminal) = options.run_in_terminal();
        terminal.wait_for("ready");
        terminal.type_in("\x03");
        terminal.wait_for("caught");
        assert_eq!(terminal.exit_code(), Some(9));
    }
}

/// With no main program nobody had the terminal, and Ctrl-C reached nothing.
#[test]
fn l46_ctrl_c_stops_everything_where_no_main_program_has_the_terminal() {
    for init in [false, true] {
        let options = Container::of(&Image::herm_dev()).command(&["gateway", "run"]);
        let options = if init {
            options.flag("--init")
        } else {
            options
        };
        let (_container, mut terminal) = options.run_in_terminal();
        terminal.wait_for("listening on");
        terminal.type_in("\x03");
        terminal.wait_for("SIGINT: stopping everything");
        assert_eq!(terminal.exit_code(), Some(0), "--init: {init}");
    }
}

#[test]
fn l46_the_main_program_sees_the_windows_size_and_its_changes() {
    for (below, options) in shells() {
        println!("below {below}");
        let (_container, mut terminal) = at_prompt(&options);
        terminal.type_in("trap 'echo now $(stty size)' WINCH; echo at fir''st $(stty size)\r");
        terminal.wait_for("at first 24 80");
        terminal.wait_for("prompt> ");
        terminal.resize_until(50, 132, "now 50 132");
        terminal.type_in("exit\r");
        assert_eq!(terminal.exit_code(), Some(0));
    }
}

/// Nobody below PID 1 could continue a main program that stopped itself: Ctrl-Z must not freeze it.
#[test]
fn ctrl_z_does_not_freeze_a_main_program_that_no_shell_looks_after() {
    for init in [false, true] {
        let script = "trap 'echo still here' USR1; echo rea''dy; while :; do sleep 0.1; done";
        let options = herm().command(&["bash", "-c", script]);
        let options = if init {
            options.flag("--init")
        } else {
            options
        };
        let (container, mut terminal) = options.run_in_terminal();
        terminal.wait_for("ready");
        terminal.type_in("\x1a");
        container.kill("USR1");
        terminal.wait_for("still here");
        terminal.type_in("\x03");
        assert_eq!(terminal.exit_code(), Some(130), "--init: {init}");
    }
}

/// A terminal program as the agent's `--tui` is one: raw mode, a screen of its own, keys one by one,
/// drawn anew for each size of the window.
const TUI: &str = r#"
saved=$(stty -g); stty raw -echo min 0 time 1; printf '\033[?1049h'
draw() { printf '\033[Hsize %s\r\n' "$(stty size)"; }
trap draw WINCH; draw
while :; do
    key=$(dd bs=1 count=1 2>/dev/null | od -An -tx1)
    case $key in '') ;; *71*) break;; *) printf 'key%s\r\n' "$key";; esac
done
printf '\033[?1049l'; stty "$saved"; echo left; exit 6"#;

#[test]
fn l46_a_full_screen_program_draws_answers_keys_and_leaves_the_terminal_as_it_was() {
    for init in [false, true] {
        let options = herm().command(&["bash", "-c", TUI]);
        let options = if init {
            options.flag("--init")
        } else {
            options
        };
        let (_container, mut terminal) = options.run_in_terminal();
        terminal.wait_for("size 24 80");
        terminal.type_in("G");
        terminal.wait_for("key 47");
        terminal.resize_until(40, 100, "size 40 100");
        // A key like any other in raw mode.
        terminal.type_in("\x03");
        terminal.wait_for("key 03");
        terminal.type_in("q");
        terminal.wait_for("left");
        assert_eq!(terminal.exit_code(), Some(6));
        assert!(terminal.is_sane());
    }
}

#[test]
fn services_lines_do_not_reach_into_another_terminals_job() {
    // What is forwarded goes to the container's standard output, the terminal here, and no service
    // can read what is typed there.
    let options = Container::of(&Image::herm_dev())
        .env("HERM_LOG", "warn")
        .env("PS1", "prompt> ")
        .command(&["bash", "--norc", "-i"]);
    let (container, mut terminal) = at_prompt(&options);
    container
        .exec(&[
            "herm",
            "service",
            "add",
            "thief",
            "--start",
            "--",
            "sh",
            "-c",
            "sleep infinity < /dev/tty || echo no terminal for m''e; exec sleep infinity",
        ])
        .succeeds();
    terminal.wait_for("no terminal for me");
    terminal.type_in("echo typ''ed\r");
    terminal.wait_for("typed");
    terminal.type_in("exit 3\r");
    assert_eq!(terminal.exit_code(), Some(3));
}

#[test]
fn standard_input_may_be_a_terminal_and_output_a_pipe() {
    let script = "[ -t 0 ] && ! [ -t 1 ] && echo half";
    let (_container, terminal) = herm()
        .command(&["bash", "-c", &format!("( {script} ) | cat; exit 4")])
        .run_in_terminal();
    let mut terminal = terminal;
    terminal.wait_for("half");
    assert_eq!(terminal.exit_code(), Some(4));
}

/// herm on a terminal that outlives it, as on any Linux box: what a dying program did to the
/// terminal must not stay, and whoever waits for herm can read from it again.
#[test]
fn l46_a_main_program_killed_in_raw_mode_leaves_a_sane_terminal() {
    let container = Container::of(&Image::herm_dev())
        .flag("--entrypoint=sleep")
        .command(&["infinity"])
        .run();
    let script = "/init sh -c 'stty raw -echo; kill -9 $$'; echo code=$?; \
                  stty -a | tr ';' '\\n'; read line; echo read=$line";
    let mut program = std::process::Command::new("docker");
    program.args(["exec", "-it", container.name(), "bash", "-c", script]);
    let mut terminal = Terminal::of(&program);
    terminal.wait_for("code=137");
    terminal.wait_for(" icanon");
    terminal.wait_for(" echo ");
    terminal.type_in("hello\r");
    terminal.wait_for("read=hello");
    assert_eq!(terminal.exit_code(), Some(0));
}
