//! A command that takes its part of the command line and executes the rest: what all of those
//! share.

use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};

use herm_s6::execline::block;
use herm_sys::exec::{Image, replace};
use herm_sys::signals::restore_default;
use herm_sys::spawn::search_path;
use herm_sys::{Errno, Signal};

use super::complain::{SYSTEM, USAGE, fatal, refused, usage, warning};
use super::options::{BadOption, Options};

/// Where programs are looked for without a `PATH`.
const DEFAULT_PATH: &str = "/usr/bin:/bin";
/// The program to be executed does not exist.
const NOT_FOUND: u8 = 127;
/// It can't be executed.
const NOT_EXECUTABLE: u8 = 126;

/// What a command returns: its exit code, or the code it fails with after it said why.
pub(crate) type Outcome = Result<u8, u8>;

/// A row of a table of commands: the usage line, which begins with the name, and what it does.
pub(crate) type Row = (&'static str, fn(&mut Call<'_>) -> Outcome);

/// Runs the command of this name, if the table has it.
pub(crate) fn run(rows: &[Row], name: &str, args: &[OsString]) -> Option<u8> {
    let of_name = |row: &&Row| row.0.split(' ').next() == Some(name);
    let (usage, main) = rows.iter().find(of_name)?;
    let mut call = Call {
        name: usage.split(' ').next().unwrap_or_default(),
        usage,
        options: Options::new(args),
        env: Environment::current(),
    };
    Some(main(&mut call).unwrap_or_else(|code| code))
}

/// A command being carried out.
pub(crate) struct Call<'a> {
    pub(crate) name: &'static str,
    usage: &'static str,
    options: Options<'a>,
    /// What the program that follows is given.
    pub(crate) env: Environment,
}

impl<'a> Call<'a> {
    /// The same command reading other words.
    pub(crate) fn over<'b>(&self, words: &'b [OsString]) -> Call<'b> {
        Call {
            name: self.name,
            usage: self.usage,
            options: Options::new(words),
            env: self.env.clone(),
        }
    }

    /// How it is used, for who asks.
    pub(crate) fn usage_line(&self) -> &'static str {
        self.usage
    }

    pub(crate) fn usage(&self) -> u8 {
        usage(self.usage)
    }

    pub(crate) fn fatal(&self, text: &dyn std::fmt::Display, code: u8) -> u8 {
        fatal(self.name, text, code)
    }

    pub(crate) fn refused(&self, what: &dyn std::fmt::Display, why: &dyn std::fmt::Display) -> u8 {
        refused(self.name, what, why)
    }

    /// The next option's letter.
    pub(crate) fn option(&mut self, letters: &[u8]) -> Result<Option<u8>, u8> {
        let next = self.options.next(letters);
        next.map_err(|BadOption| self.usage())
    }

    /// The argument of the option just read.
    pub(crate) fn argument(&mut self) -> Result<&'a OsStr, u8> {
        let argument = self.options.argument();
        argument.map_err(|BadOption| self.usage())
    }

    /// The same, a decimal number.
    pub(crate) fn number(&mut self) -> Result<u32, u8> {
        let argument = self.argument()?;
        self.parse(argument)
    }

    /// A decimal number, or a usage error.
    pub(crate) fn parse(&self, text: &OsStr) -> Result<u32, u8> {
        let bytes = text.as_bytes();
        let digits = !bytes.is_empty() && bytes.iter().all(u8::is_ascii_digit);
        let number = text.to_str().filter(|_| digits);
        number
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| self.usage())
    }

    /// The words after the options.
    pub(crate) fn rest(&self) -> &'a [OsString] {
        self.options.rest()
    }

    /// The next word, which has to be there.
    pub(crate) fn word(&mut self) -> Result<&'a OsStr, u8> {
        let (word, rest) = self.rest().split_first().ok_or_else(|| self.usage())?;
        self.options = Options::new(rest);
        Ok(word)
    }

    /// The next word as a number.
    pub(crate) fn number_word(&mut self) -> Result<u32, u8> {
        let word = self.word()?;
        self.parse(word)
    }

    /// The block that comes next.
    pub(crate) fn block(&mut self) -> Result<Vec<OsString>, u8> {
        let words = self.rest();
        let bytes: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        let Some(end) = block::end(&bytes) else {
            return Err(self.fatal(&"unterminated block", USAGE));
        };
        self.options = Options::new(words.get(end.saturating_add(1)..).unwrap_or_default());
        let block = bytes.iter().take(end);
        Ok(block
            .map(|word| OsStr::from_bytes(block::unblock(word)).to_owned())
            .collect())
    }

    /// Becomes the program that the rest of the command line is. Nothing left is success.
    pub(crate) fn exec_rest(&self) -> Outcome {
        self.exec(self.rest())
    }

    /// The same, for a command that does nothing without a program.
    pub(crate) fn exec_needed(&self) -> Outcome {
        if self.rest().is_empty() {
            return Err(self.usage());
        }
        self.exec_rest()
    }

    /// Becomes a program. Returns only if that failed.
    pub(crate) fn exec(&self, argv: &[OsString]) -> Outcome {
        let Some(name) = argv.first() else {
            return Ok(0);
        };
        self.exec_as(name, argv)
    }

    /// The same, with a name of one's choice in front of its arguments.
    pub(crate) fn exec_as(&self, program: &OsStr, argv: &[OsString]) -> Outcome {
        let error = self.try_exec(program, argv);
        let code = if error == Errno::NOENT {
            NOT_FOUND
        } else {
            NOT_EXECUTABLE
        };
        let what = format_args!("unable to exec {}: {}", program.display(), describe(error));
        Err(self.fatal(&what, code))
    }

    /// The path that a program's name means.
    pub(crate) fn locate(&self, program: &OsStr) -> Option<OsString> {
        locate(program, &self.env).ok().map(PathBuf::into_os_string)
    }

    /// Becomes a program, or tells why not.
    pub(crate) fn try_exec(&self, program: &OsStr, argv: &[OsString]) -> Errno {
        // Rust programs ignore it; what we become shall not.
        let _ = restore_default(Signal::PIPE);
        let argv: Vec<CString> = argv.iter().map(|word| c_string(word.as_bytes())).collect();
        let env = self.env.c_strings();
        let mut failure = Errno::NOENT;
        for path in candidates(program, &self.env) {
            match replace(Image::Path(&path), &argv, &env, &[]) {
                Errno::NOENT | Errno::NOTDIR => {}
                // Another of this name may be executable.
                Errno::ACCESS => failure = Errno::ACCESS,
                errno => return errno,
            }
        }
        failure
    }

    /// Starts a program, with its standard input or output in other hands.
    pub(crate) fn spawn(
        &self,
        argv: &[OsString],
        stdin: Option<OwnedFd>,
        stdout: Option<OwnedFd>,
    ) -> io::Result<Child> {
        let Some(name) = argv.first() else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let mut command = Command::new(locate(name, &self.env)?);
        command.arg0(name).args(argv.get(1..).unwrap_or_default());
        command.env_clear().envs(self.env.iter());
        if let Some(stdin) = stdin {
            command.stdin(stdin);
        }
        if let Some(stdout) = stdout {
            command.stdout(stdout);
        }
        command.spawn()
    }

    /// Starts a program that has to start.
    pub(crate) fn start(
        &self,
        argv: &[OsString],
        stdin: Option<OwnedFd>,
        stdout: Option<OwnedFd>,
    ) -> Result<Child, u8> {
        let child = self.spawn(argv, stdin, stdout);
        child.map_err(|error| self.not_spawned(argv, &error))
    }

    pub(crate) fn not_spawned(&self, argv: &[OsString], error: &io::Error) -> u8 {
        self.fatal(&NotSpawned(argv, error), SYSTEM)
    }

    /// Runs a program to its end; an empty command line is success.
    pub(crate) fn run(&self, argv: &[OsString]) -> Result<ExitStatus, u8> {
        if argv.is_empty() {
            return Ok(ExitStatus::default());
        }
        let mut child = self.start(argv, None, None)?;
        self.wait(&mut child)
    }

    pub(crate) fn wait(&self, child: &mut Child) -> Result<ExitStatus, u8> {
        let status = child.wait();
        status.map_err(|error| self.refused(&"wait for a child", &error))
    }

    /// Runs a program whose end is told in `?`, also where it could not be started.
    pub(crate) fn run_told(&mut self, argv: &[OsString]) -> Result<(), u8> {
        let code = if argv.is_empty() {
            0
        } else {
            match self.spawn(argv, None, None) {
                Ok(mut child) => {
                    let status = self.wait(&mut child)?;
                    status.code().unwrap_or(256 + status.signal().unwrap_or(0))
                }
                Err(error) => {
                    warning(self.name, &NotSpawned(argv, &error));
                    i32::from(NOT_FOUND)
                }
            }
        };
        self.env.set(OsStr::new("?"), OsStr::new(&code.to_string()));
        Ok(())
    }
}

struct NotSpawned<'a>(&'a [OsString], &'a io::Error);

impl std::fmt::Display for NotSpawned<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = self.0.first().map(|name| name.display());
        let errno = Errno::from_io_error(self.1).unwrap_or(Errno::NOENT);
        match name {
            Some(name) => write!(f, "unable to spawn {name}: {}", describe(errno)),
            None => f.write_str("empty block"),
        }
    }
}

/// What an errno means, without its number.
pub(crate) fn describe(errno: Errno) -> String {
    let text = io::Error::from(errno).to_string();
    match text.split_once(" (os error") {
        Some((text, _)) => text.to_owned(),
        None => text,
    }
}

/// The code that a child's end becomes where it has to be one byte.
pub(crate) fn exit_code(status: ExitStatus) -> u8 {
    let signal = status.signal().map(|signal| signal.saturating_add(128));
    let code = status.code().or(signal).unwrap_or(i32::from(SYSTEM));
    u8::try_from(code & 0xff).unwrap_or(SYSTEM)
}

/// A C string; what can't be one ends at its first null byte, as it would there.
fn c_string(bytes: &[u8]) -> CString {
    let end = bytes.iter().position(|byte| *byte == 0);
    CString::new(bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default()).unwrap_or_default()
}

/// Paths that a program's name may mean, ours last: a script that names one of our commands works
/// where nothing links it.
fn candidates(name: &OsStr, env: &Environment) -> Vec<CString> {
    let path = env.get("PATH").unwrap_or(OsStr::new(DEFAULT_PATH));
    let mut found = search_path(&c_string(name.as_bytes()), path.as_bytes());
    let is_ours = |name: &str| !name.contains('/') && super::is_known(name);
    if name.to_str().is_some_and(is_ours) {
        found.push(c"/proc/self/exe".to_owned());
    }
    found
}

/// The first of them that can be executed.
fn locate(name: &OsStr, env: &Environment) -> Result<PathBuf, Errno> {
    let mut failure = Errno::NOENT;
    for path in candidates(name, env) {
        let path = PathBuf::from(OsString::from_vec(path.into_bytes()));
        match rustix::fs::access(&path, rustix::fs::Access::EXEC_OK) {
            Ok(()) if Path::is_dir(&path) => failure = Errno::ACCESS,
            Ok(()) => return Ok(path),
            Err(Errno::ACCESS) => failure = Errno::ACCESS,
            Err(_) => {}
        }
    }
    Err(failure)
}

/// Variables, in the order they came.
#[derive(Clone, Default)]
pub(crate) struct Environment(Vec<(OsString, OsString)>);

impl Environment {
    pub(crate) fn current() -> Self {
        Self(std::env::vars_os().collect())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.0.iter().map(|(n, v)| (n.as_os_str(), v.as_os_str()))
    }

    pub(crate) fn get(&self, name: impl AsRef<OsStr>) -> Option<&OsStr> {
        let name = name.as_ref();
        self.iter().find(|(n, _)| *n == name).map(|(_, v)| v)
    }

    pub(crate) fn set(&mut self, name: &OsStr, value: &OsStr) {
        self.unset(name);
        self.0.push((name.to_owned(), value.to_owned()));
    }

    pub(crate) fn unset(&mut self, name: &OsStr) {
        self.0.retain(|(n, _)| n != name);
    }

    /// Keeps only variables that the test says yes to.
    pub(crate) fn retain(&mut self, keep: &dyn Fn(&[u8]) -> bool) {
        self.0.retain(|(name, _)| keep(name.as_bytes()));
    }

    fn c_strings(&self) -> Vec<CString> {
        self.iter()
            .map(|(n, v)| c_string(&[n.as_bytes(), b"=", v.as_bytes()].concat()))
            .collect()
    }
}
