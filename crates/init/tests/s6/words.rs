//! The same words, right and wrong, to herm's commands and to the genuine ones of Debian's packages
//! `s6` and `execline`: both print the same and return the same code.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

/// Where the genuine ones are.
const GENUINE: &str = "/usr/lib/execline/bin:/usr/bin:/bin";

/// One command line each. `empty` is a directory, `file` is none, `env` holds variables, `show`
/// prints its words, who it is and what `env` could have set.
const LINES: &str = "
s6-svok|s6-svok -Y|s6-svok nope|s6-svok empty|s6-svok file
s6-svstat|s6-svstat -Y empty|s6-svstat nope|s6-svstat empty|s6-svstat file|s6-svstat -o empty|s6-svstat -ofoo empty
s6-svwait|s6-svwait -Y|s6-svwait nope|s6-svwait empty|s6-svwait -tx empty
s6-svc|s6-svc -Y|s6-svc nope|s6-svc -u nope|s6-svc empty|s6-svc -u empty|s6-svc file|s6-svc -u file
s6-svc -T|s6-svc -Tx empty|s6-svc -wx empty|s6-svc -z empty|s6-svc -wu empty|s6-svc -T5 -u empty
s6-svlisten1|s6-svlisten1 nope|s6-svlisten1 nope true|s6-svlisten1 empty true|s6-svlisten1 -tx empty true
s6-svlisten|s6-svlisten nope|s6-svlisten nope  true
s6-svscanctl|s6-svscanctl nope|s6-svscanctl empty|s6-svscanctl -a nope|s6-svscanctl -a empty|s6-svscanctl -a file
s6-svscanctl -p empty|s6-svscanctl -zz empty|s6-svscanctl -an empty
s6-svperms|s6-svperms -Y|s6-svperms nope|s6-svperms empty file|s6-svperms -gnope empty|s6-svperms -g:x empty
s6-svdt|s6-svdt empty|s6-svdt -nx empty|s6-svdt-clear|s6-svdt-clear empty
s6-permafailon|s6-permafailon 5 1|s6-permafailon x 1 1 ./show|s6-permafailon 5 1 1 ./show a
s6-setuidgid|s6-setuidgid nobody|s6-setuidgid nobody ./show a|s6-setuidgid nope ./show|s6-setuidgid 12:34 ./show
s6-setuidgid 12 ./show|s6-setuidgid :5 ./show|s6-setuidgid 5: ./show|s6-setuidgid a:b ./show|s6-setuidgid nobody nope
s6-setuidgid nobody:nogroup ./show|s6-setuidgid 1:2:3 ./show|s6-setuidgid root ./file
s6-envuidgid|s6-envuidgid nobody|s6-envuidgid nobody ./show|s6-envuidgid nope ./show|s6-envuidgid -n nobody ./show
s6-envuidgid -n 12:34 ./show|s6-envuidgid -nB 12:34 ./show|s6-envuidgid -B nobody:nogroup ./show
s6-envuidgid -u nobody ./show|s6-envuidgid -g nogroup ./show|s6-envuidgid -D1:2:3,4 nope ./show|s6-envuidgid -Dx nope ./show
s6-applyuidgid|s6-applyuidgid -u5 -g6 -G7,8 ./show|s6-applyuidgid -G x ./show|s6-applyuidgid -G 1,x ./show
s6-applyuidgid -u x ./show|s6-applyuidgid -U ./show|s6-applyuidgid -u5
s6-envdir|s6-envdir env|s6-envdir env ./show a|s6-envdir -f env ./show|s6-envdir -n env ./show|s6-envdir -fn env ./show
s6-envdir -c: env ./show|s6-envdir nope ./show|s6-envdir -I nope ./show|s6-envdir -i nope ./show|s6-envdir file ./show
s6-tai64nlocal|s6-tai64nlocal -g|s6-tai64nlocal -Y
s6-notifyoncheck|s6-notifyoncheck -Y|s6-notifyoncheck -3|s6-notifyoncheck -nx ./show|s6-notifyoncheck ./show
s6-log|s6-log 1|s6-log t|s6-log nx 1|s6-log zz 1|s6-log -lx 1|s6-log -d 1 1|s6-log -d 99 1|s6-log -dx 1|s6-log +( 1
s6-log - +a 1|s6-log -.*b 1|s6-log px 1|s6-log p 1|s6-log l3000 s4096 1|s6-log s4096 l3000 1|s6-log l2048 s4096 1
execlineb|execlineb -Y|execlineb nope|execlineb -c|execlineb -cexit|wait|wait {|trap|shift|backtick|forx|if|pipeline
";

fn place() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir(at("empty")).unwrap();
    fs::write(at("file"), "").unwrap();
    fs::create_dir(at("env")).unwrap();
    for (name, content) in [
        ("A", "v \n"),
        ("B", "v"),
        ("C", "a\nb\n"),
        ("D", ""),
        ("E", "\n"),
    ] {
        fs::write(at("env").join(name), content).unwrap();
    }
    let show = "#!/bin/sh\nprintf '<%s>' \"$@\"\nid -u\nid -g\nid -G\nenv | grep '^[A-E]=\\|^[GU]ID'\nexit 3\n";
    fs::write(at("show"), show).unwrap();
    fs::set_permissions(at("show"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

/// What a command line prints and returns, with these programs first.
fn answer(programs: &str, line: &str) -> String {
    let dir = place();
    let input = dir.path().join("input");
    fs::write(&input, "@400000006b0067b204b85e08 x\nab\nb\n").unwrap();
    let mut words = line.split(' ');
    let name = words.next().unwrap();
    let found = programs
        .split(':')
        .map(|dir| Path::new(dir).join(name))
        .find(|path| path.exists());
    let Some(path) = found else {
        panic!("no {name}: are the packages s6 and execline installed?")
    };
    let output = Command::new(path)
        .args(words)
        .env_clear()
        .env("PATH", programs)
        .env("D", "gone")
        .env("LANG", "C")
        .current_dir(dir.path())
        .stdin(fs::File::open(input).unwrap())
        .stderr(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    format!("{line}: {:?} {text}", output.status.code())
}

#[test]
fn every_command_answers_as_the_genuine_one_does() {
    let bin = tempfile::tempdir().unwrap();
    fs::set_permissions(bin.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let ours = format!("{}:{GENUINE}", bin.path().display());
    let lines = LINES.split(['|', '\n']).filter(|line| !line.is_empty());
    let mut wrong = String::new();
    for line in lines {
        let name = line.split(' ').next().unwrap();
        let link = bin.path().join(name);
        if !link.exists() {
            symlink(env!("CARGO_BIN_EXE_herm-init"), link).unwrap();
        }
        let (genuine, herm) = (answer(GENUINE, line), answer(&ours, line));
        if genuine != herm {
            let _ = write!(wrong, "\ngenuine: {genuine}\nherm:    {herm}");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
