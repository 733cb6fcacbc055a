//! A full-screen program in a terminal of its own: tmux(1) draws it, and a test reads the screen and
//! presses keys.

use std::process::Command;

use crate::leftovers::unique_name;
use crate::wait::wait_until;

/// A terminal with one program in it; it goes with this value.
pub struct Tmux {
    socket: String,
}

impl Tmux {
    /// Runs a program in a terminal of this size.
    #[track_caller]
    pub fn run(columns: u16, rows: u16, words: &[&str]) -> Self {
        let terminal = Self {
            socket: unique_name(),
        };
        let (columns, rows) = (columns.to_string(), rows.to_string());
        let mut all = vec!["new-session", "-d", "-x", &columns, "-y", &rows];
        all.extend(words);
        terminal.tmux(&all);
        terminal.tmux(&["set-option", "-g", "escape-time", "0"]);
        terminal
    }

    /// What is on the screen now, a line each.
    #[track_caller]
    pub fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// Presses keys, by tmux's names for them (`Enter`, `Escape`, `q`).
    #[track_caller]
    pub fn press(&self, keys: &[&str]) {
        let mut all = vec!["send-keys"];
        all.extend(keys);
        self.tmux(&all);
    }

    /// Gives the terminal another size.
    #[track_caller]
    pub fn resize(&self, columns: u16, rows: u16) {
        let (columns, rows) = (columns.to_string(), rows.to_string());
        self.tmux(&["resize-window", "-x", &columns, "-y", &rows]);
    }

    /// Waits until the screen is as it should be.
    #[track_caller]
    pub fn shows(&self, what: &str, condition: impl Fn(&str) -> bool) {
        wait_until(what, || condition(&self.screen()));
    }

    /// Waits until the program has ended, and its terminal with it.
    #[track_caller]
    pub fn ends(&self) {
        wait_until("the program has left its terminal", || {
            !self.command(&["has-session"]).status().unwrap().success()
        });
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("tmux");
        command.args(["-L", &self.socket, "-f", "/dev/null"]);
        command.args(words).stderr(std::process::Stdio::null());
        command
    }

    #[track_caller]
    fn tmux(&self, words: &[&str]) -> String {
        let output = self.command(words).output().unwrap();
        assert!(output.status.success(), "tmux {words:?}: {}", output.status);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Ok(output) = self.command(&["capture-pane", "-p"]).output()
        {
            eprintln!("the screen:\n{}", String::from_utf8_lossy(&output.stdout));
        }
        let _ = self.command(&["kill-server"]).status();
    }
}
