//! The execline programs as processes: each script of `cases.txt`, and generated ones, run by them
//! and, where Debian's package `execline` is installed, by the genuine ones too.

mod log;

use std::fmt::Write as _;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where the genuine programs are, if they are.
const GENUINE: &str = "/usr/lib/execline/bin";
const CASES: &str = include_str!("cases.txt");

const PROGRAMS: &str = "background backtick case cd define dollarat elgetopt elgetpositionals elglob eltest \
    emptyenv envfile exec execline-cd \
    execline-umask execlineb exit export fdblock fdclose fdmove fdreserve fdswap forbacktickx foreground forstdin forx getcwd getpid \
    heredoc homeof if ifelse ifte ifthenelse importas loopwhilex multidefine multisubstitute pipeline piperw posix-cd posix-umask redirfd runblock shift \
    trap tryexec umask unexport wait withstdinas";

/// A directory with our programs, one that prints its arguments, and files to find.
struct World(tempfile::TempDir);

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (ours, tools) = (dir.path().join("ours"), dir.path().join("tools"));
        for dir in [&ours, &tools] {
            std::fs::create_dir(dir).unwrap();
        }
        for name in PROGRAMS.split_whitespace() {
            symlink(env!("CARGO_BIN_EXE_herm-init"), ours.join(name)).unwrap();
        }
        let printer = tools.join("p");
        let script = "#!/bin/sh\nfor w; do printf '<%s>' \"$w\"; done\necho\n";
        std::fs::write(&printer, script).unwrap();
        std::fs::set_permissions(&printer, PermissionsExt::from_mode(0o755)).unwrap();
        Self(dir)
    }

    fn ours(&self) -> PathBuf {
        self.0.path().join("ours")
    }

    /// What a script prints, and its exit code, as `cases.txt` writes them.
    fn run(&self, programs: &Path, script: &str) -> String {
        let temporary = tempfile::tempdir_in(self.0.path()).unwrap();
        let place = temporary.path().to_str().unwrap();
        std::fs::create_dir_all(temporary.path().join("g/d")).unwrap();
        for name in ["a.c", "b.c", ".x", "d/a.c", "w[x]"] {
            std::fs::write(temporary.path().join("g").join(name), "").unwrap();
        }
        let tools = self.0.path().join("tools");
        let path = format!("{}:/usr/bin:/bin:{}", programs.display(), tools.display());
        let output = Command::new(programs.join("execlineb"))
            .args(["-P", "-c", &script.replace("$TMP", place)])
            .env_clear()
            .env("PATH", path)
            .env("HOME", "/root")
            .env("LANG", "C")
            .current_dir("/")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).replace(place, "$TMP");
        let mut seen = String::new();
        for line in text.split_inclusive('\n') {
            let (line, mark) = line
                .strip_suffix('\n')
                .map_or((line, "%"), |line| (line, ""));
            writeln!(seen, "| {line}{mark}").unwrap();
        }
        writeln!(seen, "= {}", output.status.code().unwrap_or(-1)).unwrap();
        seen
    }
}

/// Each script with what is expected of it.
fn cases() -> Vec<(&'static str, &'static str)> {
    let text = CASES.split_once('\n').unwrap().1;
    let cases = text.strip_prefix("$ ").unwrap().split("\n$ ");
    cases.map(|case| case.split_once('\n').unwrap()).collect()
}

fn mismatches(world: &World, programs: &Path) -> String {
    let mut wrong = String::new();
    for (script, expected) in cases() {
        let seen = world.run(programs, script);
        if seen.trim_end() != expected.trim_end() {
            write!(wrong, "$ {script}\nexpected:\n{expected}\nseen:\n{seen}\n").unwrap();
        }
    }
    wrong
}

#[test]
fn every_script_does_what_execline_does() {
    let world = World::new();
    let wrong = mismatches(&world, &world.ours());
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn what_is_expected_is_what_the_genuine_programs_do() {
    if !Path::new(GENUINE).is_dir() {
        println!("Debian's package execline is not installed: nothing to compare with");
        return;
    }
    let wrong = mismatches(&World::new(), Path::new(GENUINE));
    assert!(wrong.is_empty(), "{wrong}");
}

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % 1_000_003).unwrap() % below
    }

    fn word(&mut self) -> String {
        const PIECES: &[&str] = &[
            "a",
            "b",
            "$A",
            "${A}",
            "${B}",
            "\"x y\"",
            "\"\\t\"",
            "#",
            "x{",
            "x}",
            "\\\\",
            "\"\\0x41\"",
            "\"\"",
            "$",
        ];
        (0..=self.roll(4))
            .map(|_| PIECES[self.roll(PIECES.len())])
            .collect()
    }

    fn script(&mut self, depth: usize) -> String {
        let inner = |dice: &mut Self| dice.script(depth.saturating_sub(1));
        match if depth == 0 { 0 } else { self.roll(8) } {
            1 => format!("foreground {{ {} }} {}", inner(self), inner(self)),
            2 => format!("if {{ {} }} {}", inner(self), inner(self)),
            3 => format!(
                "ifelse {{ {} }} {{ {} }} {}",
                inner(self),
                inner(self),
                inner(self)
            ),
            4 => format!(
                "define A \"{}\" {}",
                ["v", "v w", ""][self.roll(3)],
                inner(self)
            ),
            5 => format!("define -s B \"v w\" {}", inner(self)),
            6 => format!(
                "multisubstitute {{ define A $B define -s B \"1 2\" }} {}",
                inner(self)
            ),
            7 => format!("backtick -E A {{ {} }} {}", inner(self), inner(self)),
            _ => {
                let words: Vec<String> = (0..self.roll(5)).map(|_| self.word()).collect();
                format!("p {} \n", words.join(" "))
            }
        }
    }
}

#[test]
fn generated_scripts_do_what_execline_does() {
    if !Path::new(GENUINE).is_dir() {
        println!("Debian's package execline is not installed: nothing to compare with");
        return;
    }
    let seed = std::env::var("HERM_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let mut dice = Dice(seed.unwrap_or(0x5EED));
    let rounds = std::env::var("HERM_ROUNDS")
        .ok()
        .and_then(|rounds| rounds.parse().ok());
    let world = World::new();
    for round in 0..rounds.unwrap_or(150) {
        let script = dice.script(3);
        let ours = world.run(&world.ours(), &script);
        let genuine = world.run(Path::new(GENUINE), &script);
        assert_eq!(
            ours, genuine,
            "script {round} (HERM_SEED={seed:?}):\n{script}"
        );
    }
}
