//! Compressing rotated logs, where the settings ask for it. The log daemon stays small and never
//! waits for it; a thread of the keeper does it, which gives way to everything else.

use std::collections::BTreeSet;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use herm_home::kept;

use super::session::Session;

/// How much less than others the thread gets of the processors.
const NICE: i32 = 10;
/// As the log daemon makes it.
const DIR_MODE: u32 = 0o750;

/// The logs that are compressed, and the thread that does it.
#[derive(Debug, Default)]
pub(super) struct Compressor {
    /// Their directories.
    dirs: BTreeSet<PathBuf>,
    /// Where the thread hears of one that has something to compress.
    thread: Option<Sender<PathBuf>>,
}

impl Compressor {
    /// Something was renamed in a watched directory; whether it is one of these.
    pub(super) fn take_change(&mut self, dir: &Path) -> bool {
        let is_log = self.dirs.contains(dir);
        if is_log {
            self.look_at(dir);
        }
        is_log
    }

    /// All are looked at anew when they are named again.
    pub(super) fn forget(&mut self) {
        self.dirs.clear();
    }

    fn look_at(&mut self, dir: &Path) {
        let sender = self.thread.get_or_insert_with(|| {
            let (sender, receiver) = channel();
            let run = move || run(&receiver);
            if let Err(error) = thread::Builder::new().name("compress".into()).spawn(run) {
                println!("reconcile: rotated logs can't be compressed: {error}");
            }
            sender
        });
        // It fails only where there is no thread, which was said.
        let _ = sender.send(dir.to_owned());
    }
}

fn run(named: &Receiver<PathBuf>) {
    // Where it can't be less, it is as much.
    let _ = rustix::process::setpriority_process(None, NICE);
    let mut said = BTreeSet::new();
    while let Ok(first) = named.recv() {
        let dirs: BTreeSet<PathBuf> = std::iter::once(first).chain(named.try_iter()).collect();
        for dir in dirs {
            if let Err(error) = kept::compress(&dir) {
                let text = format!("a rotated log is not compressed: {error}");
                if said.insert(text.clone()) {
                    println!("reconcile: {text}");
                }
            }
        }
    }
}

impl Session<'_> {
    /// Follows the logs of what is supervised here, as far as they are in the home.
    pub(super) fn follow_logs(&mut self) {
        if !self.launch.settings.log_compress || !self.runs_gateways() {
            return self.compressor.forget();
        }
        let dirs = self
            .services
            .values()
            .filter_map(|view| view.log_dir.as_deref());
        let new: Vec<PathBuf> = dirs
            .map(PathBuf::from)
            .filter(|dir| dir.starts_with(self.home.root()) && !self.compressor.dirs.contains(dir))
            .collect();
        for dir in new {
            // The log daemon makes it with the first line, of which nobody tells us. Where it can't be made
            // nothing is logged either.
            let _ = DirBuilder::new()
                .recursive(true)
                .mode(DIR_MODE)
                .create(&dir);
            match self.watch.follow_renames(&dir) {
                Ok(false) => {}
                Ok(true) => {
                    self.compressor.look_at(&dir);
                    self.compressor.dirs.insert(dir);
                }
                Err(failure) => self.say(failure.to_string()),
            }
        }
    }
}
