//! Chapter 3, points 2 and 3: the environment, and the setup of the home.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::net::UnixListener;
use std::path::Path;

use herm_e2e::{Container, Image, Options, Volume, wait_until};

const HOME: &str = "/opt/data";
const ROOTS: &str = "what is root's is looked at";

fn dev() -> Options {
    Container::of(&Image::herm_dev())
}

fn booted(options: &Options) -> Container {
    let container = options.run();
    container.wait_booted();
    container
}

/// Prints `owner:group mode` of paths, as root.
fn stat(container: &Container, paths: &[&str]) -> Vec<String> {
    let argv = [&["stat", "-c", "%u:%g %a"], paths].concat();
    let output = container.exec_root(ROOTS, &argv).succeeds().to_owned();
    output.lines().map(str::to_owned).collect()
}

/// A directory on the engine's machine to be mounted.
struct Mounted(tempfile::TempDir);

impl Mounted {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self(dir)
    }

    fn path(&self, relative: &str) -> std::path::PathBuf {
        self.0.path().join(relative)
    }

    fn put(&self, relative: &str, content: &str, mode: u32) -> &Self {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        self
    }

    fn at(&self, target: &str) -> String {
        format!("--volume={}:{target}", self.0.path().display())
    }
}

fn hook(hooks: &Mounted, name: &str, script: &str) {
    hooks.put(name, &format!("#!/bin/sh\n{script}\n"), 0o755);
}

#[test]
fn l84_the_environment_is_recorded_whole_and_read_by_the_service_user_alone() {
    let hooks = Mounted::new();
    hook(
        &hooks,
        "01-look",
        "printf '%s|%s' \"$TOKEN\" \"$HERM_CMD\" > /tmp/seen-by-root",
    );
    let dir = "/run/s6/container_environment";
    let container = booted(
        &dev()
            .env("PLAIN", "x y")
            .env("EMPTY", "")
            .env("LINES", "a\nb\n")
            .env("TOKEN", "secret")
            .env("HERM_ROOT_ENV", "TOKEN")
            .flag(&hooks.at("/etc/cont-init.d"))
            .command(&["sh", "-c", "env -0 > /tmp/env && exec sleep infinity"]),
    );
    let seen = stat(&container, &[dir, &format!("{dir}/PLAIN")]);
    assert_eq!(seen, ["0:10000 750", "0:10000 640"]);
    let read = |name: &str| container.sh(&format!("cat {dir}/{name}; echo .")).stdout;
    assert_eq!(read("PLAIN"), "x y.\n");
    assert_eq!(read("EMPTY"), ".\n");
    assert_eq!(read("LINES"), "a\nb\n.\n");
    assert!(!container.sh(&format!("echo z > {dir}/PLAIN")).is_success());
    assert!(!container.sh(&format!("touch {dir}/NEW")).is_success());
    let stranger = container.exec_with(&["--user", "4321:4321"], &["ls", dir], b"");
    assert!(!stranger.is_success(), "{stranger}");
    assert!(!container.sh(&format!("test -e {dir}/TOKEN")).is_success());
    // The main program has what users have, the hook what root has, and the CMD (L52).
    wait_until("the main program has told", || {
        container.sh("test -s /tmp/env").is_success()
    });
    let main = container.sh("tr '\\0' ';' < /tmp/env").stdout;
    assert!(
        main.contains("PLAIN=x y;") && main.contains("EMPTY=;"),
        "{main}"
    );
    assert!(
        main.contains("LINES=a\nb\n;") && !main.contains("secret"),
        "{main}"
    );
    let hook = container.exec_root(ROOTS, &["cat", "/tmp/seen-by-root"]);
    let hook = hook.succeeds();
    assert!(hook.starts_with("secret|[\"sh\",\"-c\","), "{hook}");
}

#[test]
fn the_environment_is_anybodys_in_an_image_without_a_service_user_and_nobody_elses_without_root() {
    let list = "stat -c '%u %a' /run/s6/container_environment";
    let drop_in = dev()
        .env("HERM_USER", "nobody-here")
        .env("PLAIN", "x")
        .command(&["sh", "-c", list])
        .run_to_end();
    assert!(drop_in.stdout.contains("0 755"), "{drop_in}");
    let said = format!("{}{}", drop_in.stdout, drop_in.stderr);
    assert!(said.contains("readable by everyone"), "{drop_in}");
    let unprivileged = dev()
        .flag("--user=1234:5678")
        .flag("--tmpfs=/run:uid=1234")
        .flag("--tmpfs=/opt/data:uid=1234")
        .command(&["sh", "-c", list])
        .run_to_end();
    assert!(unprivileged.stdout.contains("1234 700"), "{unprivileged}");
    let kept = dev()
        .env("S6_KEEP_ENV", "1")
        .command(&["test", "-e", "/run/s6/container_environment"])
        .run_to_end();
    kept.exits(1);
}

#[test]
fn l26_only_herms_own_paths_change_owner_and_only_where_they_are_wrong() {
    let volume = Volume::new();
    let script = "
        mkdir -p profiles/p/sessions/deep cron workspace own-mount home
        touch profiles/p/SOUL.md profiles/p/sessions/deep/planted cron/job workspace/mine own-mount/mine home/mine top
        chown -R 10000:10000 . && chown 0:0 profiles/p/sessions/deep/planted top workspace/mine own-mount own-mount/mine home/mine
        echo x > config.yaml; echo x > .env; echo x > auth.json; chmod 666 config.yaml .env auth.json";
    let prepare = dev()
        .volume(&volume, HOME)
        .flag("--entrypoint=sh")
        .flag("--workdir=/opt/data")
        .command(&["-c", script])
        .run_to_end();
    prepare.succeeds();
    let container = booted(&dev().volume(&volume, HOME));
    let at = |name: &str| format!("{HOME}/{name}");
    let owners = |names: &[&str]| {
        let paths: Vec<String> = names.iter().map(|name| at(name)).collect();
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        stat(&container, &paths)
    };
    let given = owners(&["profiles/p/sessions/deep/planted", "top"]);
    assert_eq!(given, ["10000:10000 644", "10000:10000 644"]);
    for left in owners(&["workspace/mine", "own-mount", "own-mount/mine", "home/mine"]) {
        assert!(left.starts_with("0:0 "), "{left}");
    }
    let modes = owners(&["config.yaml", ".env", "auth.json"]);
    assert_eq!(
        modes,
        ["10000:10000 640", "10000:10000 600", "10000:10000 600"]
    );
    // L25: what `docker exec` as root leaves is found at the next boot, below correct parents.
    container
        .exec_root(
            "only root leaves root's files",
            &["touch", &at("profiles/p/sessions/deep/again")],
        )
        .succeeds();
    let would = container.exec_root("what setup would do", &["herm", "setup", "--dry-run"]);
    assert!(
        would.succeeds().contains("would change: give 1 entries"),
        "{would}"
    );
    assert_eq!(owners(&["profiles/p/sessions/deep/again"]), ["0:0 644"]);
    container.restart();
    container.wait_booted();
    assert_eq!(
        owners(&["profiles/p/sessions/deep/again"]),
        ["10000:10000 644"]
    );
    let logs = container.logs();
    assert!(
        logs.contains("setup: give 1 entries of the home to 10000:10000"),
        "{logs}"
    );
    let nothing = container.exec_root("setup again", &["herm", "setup", "--dry-run"]);
    assert_eq!(nothing.succeeds(), "setup: nothing to change");
}

#[test]
fn the_service_user_is_remapped_in_its_own_lines_and_a_taken_group_is_allowed() {
    let volume = Volume::new();
    let run = |flags: &[&str], variables: &[(&str, &str)], script: &str| {
        let options = dev().volume(&volume, HOME).command(&["sh", "-c", script]);
        let options = flags
            .iter()
            .fold(options, |options, flag| options.flag(flag));
        let options = variables
            .iter()
            .fold(options, |options, (name, value)| options.env(name, value));
        options.run_to_end()
    };
    let before = run(&[], &[], "cat /etc/passwd /etc/group").stdout;
    // The lines of others, and of the main program: herm's own have blanks.
    let ids = [("HERMES_UID", "1234"), ("HERMES_GID", "29"), ("PUID", "77")];
    let after = run(
        &[],
        &ids,
        "cat /etc/passwd /etc/group; id -u; id -g; id -un; stat -c %u:%g /opt/data /opt/data/logs /opt/data/cron",
    );
    let lines = |text: &str| -> Vec<String> {
        let herms = |line: &&str| !line.starts_with("hermes:") && !line.contains("setup: ");
        text.lines().filter(herms).map(str::to_owned).collect()
    };
    let (before, after_lines) = (lines(&before), lines(&after.stdout));
    let others: Vec<&String> = before.iter().filter(|line| line.contains(":x:")).collect();
    assert!(
        others.len() > 10 && others.iter().all(|line| after_lines.contains(line)),
        "{after}"
    );
    assert!(after.stdout.contains("hermes:x:1234:29:"), "{after}");
    let has = |wanted: &str| after.stdout.lines().filter(|line| *line == wanted).count();
    assert_eq!(
        (has("1234"), has("29"), has("hermes")),
        (1, 1, 1),
        "{after}"
    );
    assert_eq!(has("1234:29"), 3, "{after}");
    // Where the files can't be written, the ids are numbers.
    let read_only = ["--read-only", "--tmpfs=/run"];
    let numeric = run(
        &read_only,
        &[("PUID", "4000"), ("PGID", "4001")],
        "id -u; id -g",
    );
    let told: Vec<&str> = numeric
        .stdout
        .lines()
        .filter(|line| line.len() == 4)
        .collect();
    assert_eq!(told, ["4000", "4001"], "{numeric}");
    assert!(
        numeric.stderr.contains("the ids are used as numbers"),
        "{numeric}"
    );
}

#[test]
fn an_id_that_can_not_be_is_a_message_and_exit_78() {
    for (name, value) in [
        ("HERMES_UID", "0"),
        ("HERMES_GID", "65535"),
        ("PUID", "4294967295"),
        ("PGID", "staff"),
    ] {
        let ended = dev().env(name, value).command(&["true"]).run_to_end();
        let said = format!("{}{}", ended.stdout, ended.stderr);
        assert!(said.contains(&format!("{name}=\"{value}\"")), "{ended}");
        ended.exits(78);
    }
}

#[test]
fn a_docker_socket_is_shared_only_when_asked_and_said_to_make_root() {
    let dir = Mounted::new();
    let socket = dir.path("docker.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    chown(&socket, Some(0), Some(4242)).unwrap();
    let mount = format!("--volume={}:/var/run/docker.sock", socket.display());
    let run = |asked: &str| {
        dev()
            .flag(&mount)
            .env("HERM_DOCKER_SOCKET", asked)
            .command(&["id", "-G"])
            .run_to_end()
    };
    let shared = run("1");
    assert!(shared.stdout.contains("4242"), "{shared}");
    assert!(shared.stderr.contains("root on the host"), "{shared}");
    let not = run("0");
    assert!(!not.stdout.contains("4242"), "{not}");
}

#[test]
fn a_home_is_seeded_once_and_a_rotated_token_is_never_overwritten() {
    let image = Mounted::new();
    image
        .put(".env.example", "API_SERVER_ENABLED=true\n", 0o644)
        .put("cli-config.yaml.example", "model: x\n", 0o644)
        .put("docker/SOUL.md", "soul\n", 0o644)
        .put(".install_method", "docker\n", 0o644)
        .put("skills/cat/s/SKILL.md", "---\nname: one\n---\n", 0o644);
    let volume = Volume::new();
    let options = dev()
        .volume(&volume, HOME)
        .flag(&image.at("/image"))
        .env("HERM_INSTALL_DIR", "/image")
        .env("HERMES_AUTH_JSON_BOOTSTRAP", "{\"token\":1}");
    let first = booted(&options);
    let cat = |container: &Container, name: &str| {
        container
            .sh(&format!("cat {HOME}/{name}"))
            .succeeds()
            .to_owned()
    };
    assert_eq!(cat(&first, "SOUL.md"), "soul");
    assert_eq!(cat(&first, "config.yaml"), "model: x");
    assert_eq!(cat(&first, "auth.json"), "{\"token\":1}");
    let env = cat(&first, ".env");
    let key = env
        .lines()
        .find_map(|line| line.strip_prefix("API_SERVER_KEY="));
    assert!(key.is_some_and(|key| key.len() >= 32), "{env}");
    assert!(
        !first.logs().contains(key.unwrap()),
        "a secret is in the log"
    );
    assert_eq!(cat(&first, "skills/cat/s/SKILL.md"), "---\nname: one\n---");
    assert!(cat(&first, "skills/.bundled_manifest").starts_with("one:"));
    let skills = stat(&first, &["/opt/data/skills/cat/s/SKILL.md"]);
    assert!(skills[0].starts_with("10000:10000"), "{skills:?}");
    first
        .sh(&format!(
            "cd {HOME} && echo rotated > auth.json && echo docker > .install_method && rm -r skills/cat"
        ))
        .succeeds();
    image.put("skills/cat/s/SKILL.md", "---\nname: one\n---\nnew", 0o644);
    first.restart();
    first.wait_booted();
    assert_eq!(cat(&first, "auth.json"), "rotated");
    assert_eq!(cat(&first, ".env"), env);
    assert!(
        !first
            .sh(&format!("test -e {HOME}/.install_method"))
            .is_success()
    );
    assert!(!first.sh(&format!("test -e {HOME}/skills/cat")).is_success());
    assert!(
        first.logs().contains("setup: remove .install_method"),
        "{}",
        first.logs()
    );
}

#[test]
fn lazy_installs_go_into_the_home_or_where_they_are_asked_to_go() {
    let image = Mounted::new();
    image.put(".venv/lib/x.py", "", 0o644);
    let run = |target: Option<&str>, script: &str| {
        let options = dev()
            .flag(&image.at("/image"))
            .env("HERM_INSTALL_DIR", "/image")
            .env("HERMES_UID", "1234")
            .command(&["sh", "-c", script]);
        let options = match target {
            Some(target) => options.env("HERMES_LAZY_INSTALL_TARGET", target),
            None => options,
        };
        options.run_to_end().stdout
    };
    let told = run(None, "echo target=$HERMES_LAZY_INSTALL_TARGET");
    assert!(told.contains("target=/opt/data/lazy-packages"), "{told}");
    let owners = "stat -c 'owner %u' /image/.venv/lib/x.py /image/.venv; echo target=$HERMES_LAZY_INSTALL_TARGET";
    let elsewhere = run(Some("/opt/other"), owners);
    assert!(
        elsewhere.contains("owner 0\nowner 0\ntarget=/opt/other"),
        "{elsewhere}"
    );
    let given = run(Some("/image/.venv"), owners);
    assert!(
        given.contains("owner 1234\nowner 1234\ntarget=/image/.venv"),
        "{given}"
    );
}

#[test]
fn l89_a_script_that_fails_shows_in_the_status_and_stops_the_boot_where_the_policy_says_so() {
    let hooks = Mounted::new();
    hook(&hooks, "01-first", "echo first >> /tmp/order");
    hook(&hooks, "02-bad", "exit 7");
    hook(&hooks, "03-last", "echo last >> /tmp/order");
    hooks.put("04-no-exec", "#!/bin/sh\n", 0o644);
    hooks.put(".hidden", "#!/bin/sh\nexit 9\n", 0o755);
    let options = dev().flag(&hooks.at("/etc/cont-init.d"));
    let container = booted(&options);
    let order = container.exec_root(ROOTS, &["cat", "/tmp/order"]);
    assert_eq!(order.succeeds(), "first\nlast");
    let status = container.sh("herm status").stdout;
    assert!(
        status.contains("Boot: /etc/cont-init.d/02-bad failed"),
        "{status}"
    );
    let json = container.exec(&["herm", "status", "--json"]).json();
    let failed = json["boot"]["failed"].as_array().unwrap();
    let names: Vec<&str> = failed
        .iter()
        .filter_map(|step| step["name"].as_str())
        .collect();
    assert_eq!(
        names,
        ["/etc/cont-init.d/02-bad", "/etc/cont-init.d/04-no-exec"]
    );
    let stopped = options
        .clone()
        .env("S6_BEHAVIOUR_IF_STAGE2_FAILS", "2")
        .command(&["echo", "the main program ran"])
        .run_to_end();
    assert!(
        !stopped.stdout.contains("the main program ran"),
        "{stopped}"
    );
    stopped.exits(1);
}

/// A migration stripped `.env` at every start.
#[test]
fn l54_a_script_that_strips_the_settings_leaves_a_copy_and_is_named() {
    let hooks = Mounted::new();
    hook(&hooks, "02-migrate", "echo '# migrated' > /opt/data/.env");
    let volume = Volume::new();
    let options = dev()
        .volume(&volume, HOME)
        .flag(&hooks.at("/etc/cont-init.d"));
    let container = booted(&options);
    for _ in 0..2 {
        container
            .sh("umask 077; rm -f /opt/data/.env; echo TOKEN=mine > /opt/data/.env")
            .succeeds();
        container.restart();
        container.wait_booted();
    }
    assert_eq!(container.sh("cat /opt/data/.env").succeeds(), "# migrated");
    let copies =
        container.sh("cd /opt/data/.herm/backups && stat -c '%n %U %a' .env.* && cat .env.*");
    let copies: Vec<&str> = copies.succeeds().lines().collect();
    assert!(
        copies.len() == 2 && copies[0].ends_with(" hermes 600") && copies[1] == "TOKEN=mine",
        "{copies:?}"
    );
    let doctor = container.exec(&["herm", "doctor"]).stdout;
    let told = "/etc/cont-init.d/02-migrate changed .env of the home; as it was before, it is kept as .herm/backups/.env.";
    assert!(
        doctor.contains(told) && container.logs().contains(told),
        "{doctor}"
    );
    assert!(!doctor.contains("mine"), "{doctor}");
}

#[test]
fn l51_a_script_that_hangs_is_named_and_ended_where_a_limit_is_set() {
    let hooks = Mounted::new();
    hook(&hooks, "01-hangs", "exec sleep infinity");
    let container = booted(
        &dev()
            .flag(&hooks.at("/etc/cont-init.d"))
            .env("HERM_SETUP_TIMEOUT", "1"),
    );
    let logs = container.logs();
    assert!(
        logs.contains("/etc/cont-init.d/01-hangs failed: not done after 1 s"),
        "{logs}"
    );
}

#[test]
fn a_home_is_left_as_it_is_where_setup_is_off_and_hooks_run_all_the_same() {
    let hooks = Mounted::new();
    hook(&hooks, "01", "touch /tmp/hook");
    let off = dev()
        .env("HERM_SETUP", "0")
        .flag(&hooks.at("/etc/cont-init.d"))
        .flag("--tmpfs=/opt/data:mode=1777")
        .command(&["sh", "-c", "ls -A /opt/data; test -e /tmp/hook"])
        .run_to_end();
    off.succeeds();
    assert!(!off.stdout.contains("cron"), "{off}");
    assert!(!off.stderr.contains("setup: "), "{off}");
}

#[test]
fn an_odd_profile_directory_is_warned_of_once() {
    let volume = Volume::new();
    dev()
        .volume(&volume, HOME)
        .flag("--entrypoint=mkdir")
        .command(&["-p", "/opt/data/profiles/default"])
        .run_to_end()
        .succeeds();
    let container = booted(&dev().volume(&volume, HOME));
    wait_until("the keeper has made a pass", || {
        container.service("gateway-default").is_some()
    });
    container.exec(&["herm", "reconcile"]).succeeds();
    let logs = container.logs();
    let warned = |line: &&str| line.contains("reconcile: default: ");
    assert_eq!(logs.lines().filter(warned).count(), 1, "{logs}");
    assert!(
        logs.contains("profile=default prior_state=None action=skipped"),
        "{logs}"
    );
}

/// Swaps what is in the home for links out of it and back, as fast as it can, as a user who may
/// write there. Its files have a wrong group, so that setup has to give each of them.
const ATTACKER: &str = r#"
    chdir "/srv/home" or die "home: $!";
    umask 0;
    my @targets = ("/etc/shadow", "/etc/passwd", "/root", "/root/secret", "/etc");
    my $n = 0;
    open my $ready, ">", "/tmp/ready"; close $ready;
    until (-e "/tmp/enough") {
        my $target = $targets[$n++ % @targets];
        for my $file ("config.yaml", "auth.json", "sessions/bait", "sessions/a/bait") {
            open my $new, ">", "$file.new"; close $new; chmod 0777, "$file.new";
            rename "$file.new", $file;
            symlink $target, "$file.link"; rename "$file.link", $file;
            link $target, "$file.hard"; rename "$file.hard", $file;
            unlink $file; open my $again, ">", $file; close $again;
        }
        for my $dir ("cron", "sessions/a", "profiles") {
            rename $dir, "$dir.aside"; symlink "/root", $dir;
            unlink $dir; rename "$dir.aside", $dir; mkdir $dir;
        }
    }
"#;

/// The home's user has a wrong group.
const HOMES_USER: (&str, &str) = ("10000:4321", ATTACKER);

/// The same by a third user, in directories that nobody else may write to: setup gives what is in such
/// a one by name, once it is root's alone. It makes a new one as soon as setup has given the last.
const THIRD: &str = r#"
    chdir "/srv/home/sessions" or die "sessions: $!";
    umask 022;
    my @targets = ("/etc/shadow", "/etc/passwd", "/root/secret");
    my ($n, $given) = (0, 0);
    open my $ready, ">", "/tmp/ready"; close $ready;
    until (-e "/tmp/enough") {
        mkdir "third"; mkdir "third/in";
        for my $dir ("third/in", "third") {
            chdir "/srv/home/sessions/$dir" or next;
            for (1 .. 20) {
                my $target = $targets[$n++ % @targets];
                for my $file ("a", "b", "c") {
                    chmod 0777, "."; chmod 0755, ".";
                    open my $new, ">", "new"; close $new; rename "new", $file;
                    symlink $target, "link"; rename "link", $file;
                    link $target, "hard"; rename "hard", $file;
                    unlink $file; open my $again, ">", $file; close $again;
                }
            }
        }
        chdir "/srv/home/sessions";
        if ((stat "third")[4] != $<) { rename "third", "third.$n"; $given++; }
    }
    print $given;
"#;

/// What setup must not be: it looks at a name, and then acts on the name.
const NAIVE: &str = r#"
    my $before = (stat "/etc/shadow")[4];
    for (1 .. 2_000_000) {
        my @found = lstat "/srv/home/sessions/bait";
        next unless @found and -f _;
        chown 10000, 10000, "/srv/home/sessions/bait";
        last if (stat "/etc/shadow")[4] != $before;
    }
"#;

const OUTSIDE: &str = "stat -c '%n %u:%g %a' /etc /etc/shadow /etc/passwd /root /root/secret /; \
    sha256sum /etc/shadow /etc/passwd /root/secret; ls -A /root";

/// What was outside before and after, and what the attacker had to say.
fn under_attack((user, attacker): (&str, &str), as_root: &[&str]) -> (String, String, String) {
    let container = booted(&dev().command(&["sleep", "infinity"]));
    let prepare = "mkdir -p /srv/home/sessions/a && chown -R 10000:10000 /srv/home && chmod 777 /srv/home/sessions && echo s > /root/secret && chmod 600 /root/secret";
    container
        .exec_root("the home and the secret are made", &["sh", "-c", prepare])
        .succeeds();
    let outside = || {
        let seen = container.exec_root(ROOTS, &["sh", "-c", OUTSIDE]);
        seen.succeeds().to_owned()
    };
    let before = outside();
    let flags = ["--user", user];
    let said = std::thread::scope(|scope| {
        let attack = || container.exec_with(&flags, &["perl", "-e", attacker], b"");
        let attack = scope.spawn(attack);
        wait_until("the attacker is at it", || {
            container.sh("test -e /tmp/ready").is_success()
        });
        let acted = container.exec_root("root acts in the home", as_root);
        container.sh("touch /tmp/enough").succeeds();
        acted.succeeds();
        attack.join().unwrap().succeeds().to_owned()
    });
    (before, outside(), said)
}

#[test]
fn l27_nothing_outside_the_home_ever_changes_while_its_user_swaps_everything_in_it_for_links() {
    let setup = "i=0; while [ $i -lt 1000 ]; do herm setup --home /srv/home > /tmp/setup.log || exit 1; i=$((i + 1)); done; cat /tmp/setup.log";
    let (before, after, _) = under_attack(HOMES_USER, &["sh", "-c", setup]);
    assert_eq!(before, after);
}

#[test]
fn l27_nothing_outside_ever_changes_while_a_third_user_swaps_what_is_given_by_name() {
    let setup = "i=0; while [ $i -lt 100 ]; do herm setup --home /srv/home > /tmp/setup.log || exit 1; i=$((i + 1)); done; cat /tmp/setup.log";
    let (before, after, given) = under_attack(("4444:4444", THIRD), &["sh", "-c", setup]);
    assert_eq!(before, after);
    let given: u32 = given.parse().unwrap();
    assert!(given > 10, "setup met the third user {given} times only");
}

#[test]
fn l27_the_same_attacker_wins_against_a_setup_that_acts_on_names() {
    let (before, after, _) = under_attack(HOMES_USER, &["perl", "-e", NAIVE]);
    assert_ne!(before, after, "the attacker is no match for anybody");
}

#[test]
fn l27_a_home_that_is_a_link_planted_in_another_users_directory_is_refused() {
    let container = booted(&dev().command(&["sleep", "infinity"]));
    container
        .sh("mkdir /opt/data/x && ln -s /root /opt/data/hermes")
        .succeeds();
    let setup = container.exec_root(
        "root acts in the home",
        &["herm", "setup", "--home", "/opt/data/hermes"],
    );
    assert!(
        setup
            .stderr
            .contains("a link that another user can have made"),
        "{setup}"
    );
    assert_eq!(stat(&container, &["/root"]), ["0:0 700"]);
    assert!(!Path::new("/root/cron").is_dir());
    let root = container.exec_root(ROOTS, &["ls", "-A", "/root"]);
    assert!(!root.succeeds().contains("cron"), "{root}");
}
