//! From the start of PID 1 to the main program, and from the main program's end to the container's.
//!
//! In the image's own files, in namespaces made by unshare(1): a container's engine would add a
//! hundred times what is measured.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::Bench;
use crate::host::is_installed;
use crate::report::Table;
use crate::sample::{Samples, Unit};
use crate::scratch::{Scratch, now_ms};

/// What is first in the container.
#[derive(Clone, Copy, PartialEq, Eq)]
enum First {
    HermWithSetup,
    Herm,
    Tini,
    DumbInit,
    Nothing,
}

impl First {
    const ALL: [Self; 5] = [
        Self::HermWithSetup,
        Self::Herm,
        Self::Tini,
        Self::DumbInit,
        Self::Nothing,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::HermWithSetup => "herm, setup on a warm home",
            Self::Herm => "herm, no setup",
            Self::Tini => "tini",
            Self::DumbInit => "dumb-init",
            Self::Nothing => "no init at all",
        }
    }

    fn is_here(self) -> bool {
        match self {
            Self::Tini => is_installed("tini-static"),
            Self::DumbInit => is_installed("dumb-init"),
            _ => true,
        }
    }
}

/// An image's files in a directory, with the peers and this program beside them.
struct Root {
    scratch: Scratch,
}

impl Root {
    fn new(bench: &Bench) -> Result<Self> {
        let scratch = Scratch::new()?;
        let root = scratch.dir("root")?;
        let name = format!("herm-bench-{}", std::process::id());
        docker(&["create", "--name", &name, &bench.image])?;
        let exported = Command::new("sh")
            .arg("-c")
            .arg("docker export \"$1\" | tar --extract --directory \"$2\"")
            .args(["sh", &name])
            .arg(&root)
            .status();
        docker(&["rm", "--volumes", &name])?;
        ensure!(
            exported?.success(),
            "could not export the image {}",
            bench.image
        );
        std::fs::copy(&bench.init, root.join("init"))?;
        std::fs::copy(std::env::current_exe()?, root.join("stamp"))?;
        for peer in ["tini-static", "dumb-init"] {
            let path = Path::new("/usr/bin").join(peer);
            if path.exists() {
                std::fs::copy(&path, root.join(peer))?;
            }
        }
        Ok(Self { scratch })
    }

    fn path(&self) -> PathBuf {
        self.scratch.path().join("root")
    }

    /// One container's life: the time to the main program's first instruction, and from it to the end.
    fn sample(&self, first: First) -> Result<(f64, f64)> {
        let stamp = self.path().join("opt/data/workspace/stamp");
        let _ = std::fs::remove_file(&stamp);
        let mut command = Command::new("unshare");
        command.args([
            "--pid",
            "--fork",
            "--kill-child",
            "--mount",
            "--uts",
            "--ipc",
        ]);
        command
            .arg("--root")
            .arg(self.path())
            .arg("--mount-proc")
            .env_clear();
        command.env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        );
        match first {
            First::HermWithSetup => {
                command.arg("/init").env("HERMES_HOME", "/opt/data");
            }
            First::Herm => {
                command.arg("/init").env("HERM_SETUP", "0");
            }
            First::Tini => {
                command.args(["/tini-static", "--"]);
            }
            First::DumbInit => {
                command.args(["/dumb-init", "--"]);
            }
            First::Nothing => {}
        }
        command.args(["/stamp", "role", "stamp", "/opt/data/workspace/stamp"]);
        let began = now_ms();
        let output = command.stdin(Stdio::null()).output()?;
        let ended = now_ms();
        let text = std::fs::read_to_string(&stamp).with_context(|| {
            format!(
                "{} did not run the main program: {}",
                first.name(),
                String::from_utf8_lossy(&output.stderr)
            )
        })?;
        let stamped: f64 = text.trim().parse()?;
        Ok((stamped - began, ended - stamped))
    }
}

pub(crate) fn measure(bench: &Bench) -> Result<Vec<Table>> {
    let root = Root::new(bench)?;
    std::fs::create_dir_all(root.path().join("opt/data/workspace"))?;
    // Whoever runs the main program can write its stamp.
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(root.path().join("opt/data/workspace"), open)?;
    let here: Vec<First> = First::ALL
        .into_iter()
        .filter(|first| first.is_here())
        .collect();
    // Once each for a warm home and warm files.
    for first in &here {
        root.sample(*first)?;
    }
    let (mut starts, mut ends) = (
        vec![Samples::default(); here.len()],
        vec![Samples::default(); here.len()],
    );
    for _ in 0..bench.samples * 3 {
        for ((first, start), end) in here.iter().zip(&mut starts).zip(&mut ends) {
            let (to_main, to_end) = root.sample(*first)?;
            start.push(to_main);
            end.push(to_end);
        }
    }
    let lines = |all: Vec<Samples>| here.iter().map(|first| first.name().to_owned()).zip(all);
    Ok(vec![
        Table::new(
            "boot",
            "from the start of PID 1 to the main program's first instruction",
            Unit::Milliseconds,
            lines(starts),
        ),
        Table::new(
            "exit",
            "from the main program's last instruction to the end of PID 1",
            Unit::Milliseconds,
            lines(ends),
        ),
    ])
}

fn docker(args: &[&str]) -> Result<()> {
    let output = Command::new("docker").args(args).output()?;
    ensure!(
        output.status.success(),
        "docker {}: {}",
        args.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
