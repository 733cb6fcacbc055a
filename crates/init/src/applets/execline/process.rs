//! `exec`, `cd`, `pipeline`, `wait` and other programs about the process itself.

use std::ffi::OsString;

use herm_sys::signals::{SignalFd, SignalSet, set_blocked};
use herm_sys::users::Users;
use herm_sys::{Errno, Pid, Signal, descriptors};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{WaitOptions, WaitStatus, wait as wait_any, waitpid};

use super::conditions::detaching;
use super::loops::pipe;
use crate::applets::call::{Call, Outcome, Row, describe, exit_code};
use crate::applets::complain::{SYSTEM, USAGE};

pub(in crate::applets) const ROWS: &[Row] = &[
    ("exec [ -c ] [ -l ] [ -a argv0 ] prog...", exec),
    (
        "tryexec [ -n ] [ -c ] [ -l ] [ -a argv0 ] { prog... } prog...",
        tryexec,
    ),
    ("exit [ exitcode ]", exit),
    ("cd path prog...", cd),
    ("execline-cd path prog...", cd),
    ("umask value prog...", umask),
    ("execline-umask value prog...", umask),
    ("pipeline [ -d ] [ -r | -w ] { prog... } prog...", pipeline),
    (
        "wait [ -I | -i ] [ -a | -o ] [ -r | -t timeout ] { pids... } [ prog... ]",
        wait,
    ),
    ("homeof user", homeof),
    ("trap [ -x ] { signal { prog... } ... } prog...", trap),
];

/// Options of `exec` and `tryexec`.
#[derive(Default)]
struct Disguise {
    cleared: bool,
    login: bool,
    argv0: Option<OsString>,
}

impl Disguise {
    fn take(&mut self, call: &mut Call<'_>, letter: u8) -> Result<(), u8> {
        match letter {
            b'c' => self.cleared = true,
            b'l' => self.login = true,
            _ => self.argv0 = Some(call.argument()?.to_owned()),
        }
        Ok(())
    }

    /// The command line with another first word.
    fn argv(&self, argv: &[OsString]) -> Vec<OsString> {
        let mut argv = argv.to_vec();
        if let Some(first) = argv.first_mut() {
            let name = self.argv0.clone().unwrap_or_else(|| first.clone());
            *first = OsString::from(if self.login { "-" } else { "" });
            first.push(name);
        }
        argv
    }
}

fn exec(call: &mut Call<'_>) -> Outcome {
    let mut disguise = Disguise::default();
    while let Some(letter) = call.option(b"cla")? {
        disguise.take(call, letter)?;
    }
    let argv = call.rest();
    let program = argv.first().ok_or_else(|| call.usage())?;
    if disguise.cleared {
        // The program is still looked for where we were told to.
        let found = call.locate(program);
        call.env.retain(&|_| false);
        return call.exec_as(found.as_deref().unwrap_or(program), &disguise.argv(argv));
    }
    call.exec_as(program, &disguise.argv(argv))
}

fn tryexec(call: &mut Call<'_>) -> Outcome {
    let mut disguise = Disguise::default();
    let mut reversed = false;
    while let Some(letter) = call.option(b"ncla")? {
        match letter {
            b'n' => reversed = true,
            letter => disguise.take(call, letter)?,
        }
    }
    let block = call.block()?;
    if block.is_empty() {
        return Err(call.fatal(&"empty block", USAGE));
    }
    let (first, second) = if reversed {
        if call.rest().is_empty() {
            return Err(call.fatal(&"empty remainder not allowed with -n", USAGE));
        }
        (call.rest(), block.as_slice())
    } else {
        (block.as_slice(), call.rest())
    };
    let everything = call.env.clone();
    if disguise.cleared {
        call.env.retain(&|_| false);
    }
    if let Some(program) = first.first() {
        call.try_exec(program, &disguise.argv(first));
    }
    call.env = everything;
    call.exec(second)
}

fn exit(call: &mut Call<'_>) -> Outcome {
    let code = match call.rest().first() {
        Some(code) => call.parse(code)?,
        None => 0,
    };
    Ok(u8::try_from(code & 0xff).unwrap_or(USAGE))
}

fn cd(call: &mut Call<'_>) -> Outcome {
    let path = call.word()?;
    if call.rest().is_empty() {
        return Err(call.usage());
    }
    rustix::process::chdir(path).map_err(|errno| {
        let what = format_args!("chdir to {}", path.display());
        call.refused(&what, &describe(errno))
    })?;
    call.exec_rest()
}

fn umask(call: &mut Call<'_>) -> Outcome {
    let value = call.word()?.to_str();
    let value = value.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let mask = value.and_then(|text| u32::from_str_radix(text, 8).ok());
    let mask = mask.ok_or_else(|| call.usage())?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(mask & 0o777));
    call.exec_needed()
}

fn pipeline(call: &mut Call<'_>) -> Outcome {
    let (mut writes, mut detached) = (false, false);
    while let Some(letter) = call.option(b"drw")? {
        match letter {
            b'w' => writes = true,
            b'r' => writes = false,
            _ => detached = true,
        }
    }
    let first = call.block()?;
    if call.rest().is_empty() {
        return Err(call.fatal(&"empty remainder", USAGE));
    }
    let (reader, writer) = pipe(call)?;
    let (own, stdin, stdout, number) = if writes {
        (writer, Some(reader), None, 1)
    } else {
        (reader, None, Some(writer), 0)
    };
    if first.is_empty() {
        drop((stdin, stdout));
    } else if detached {
        let argv = detaching(&first);
        let mut child = call.start(&argv, stdin, stdout)?;
        call.wait(&mut child)?;
    } else {
        let child = call.start(&first, stdin, stdout)?;
        call.env.set("!".as_ref(), child.id().to_string().as_ref());
    }
    let given = descriptors::give(number, own);
    given.map_err(|errno| call.refused(&"move a pipe", &describe(errno)))?;
    call.exec_rest()
}

fn code_of(status: WaitStatus) -> u8 {
    exit_code(std::os::unix::process::ExitStatusExt::from_raw(
        status.as_raw(),
    ))
}

/// How a wait ended.
enum Waited {
    /// There is nothing more to wait for; the code of the last child, if one was waited for.
    Over(Option<u8>),
    /// Not yet.
    Not,
}

/// What is waited for.
struct Awaited {
    /// Nothing: any child.
    pids: Vec<Pid>,
    /// The first one ends it.
    any_one: bool,
}

impl Awaited {
    /// Reaps what has ended.
    fn collect(&mut self, options: WaitOptions) -> Waited {
        loop {
            let reaped = if self.pids.is_empty() {
                wait_any(options)
            } else if options.contains(WaitOptions::NOHANG) || !self.any_one {
                self.collect_listed(options)
            } else {
                self.collect_any_listed()
            };
            match reaped {
                Ok(Some((pid, status))) => {
                    let listed = !self.pids.is_empty();
                    self.pids.retain(|other| *other != pid);
                    if self.any_one || (listed && self.pids.is_empty()) {
                        return Waited::Over(Some(code_of(status)));
                    }
                }
                Ok(None) => return Waited::Not,
                Err(Errno::INTR) => {}
                Err(_) => return Waited::Over(None),
            }
        }
    }

    /// Waits for whichever child ends first until it is a listed one.
    fn collect_any_listed(&self) -> Result<Option<(Pid, WaitStatus)>, Errno> {
        loop {
            match wait_any(WaitOptions::empty())? {
                Some((pid, status)) if self.pids.contains(&pid) => return Ok(Some((pid, status))),
                Some(_) => {}
                None => return Ok(None),
            }
        }
    }

    fn collect_listed(&mut self, options: WaitOptions) -> Result<Option<(Pid, WaitStatus)>, Errno> {
        let mut ours = false;
        for pid in self.pids.clone() {
            match waitpid(Some(pid), options) {
                Ok(Some(found)) => return Ok(Some(found)),
                Ok(None) => ours = true,
                Err(Errno::INTR) => return Err(Errno::INTR),
                // No child of ours: nothing to wait for.
                Err(_) => self.pids.retain(|other| *other != pid),
            }
        }
        if ours { Ok(None) } else { Err(Errno::CHILD) }
    }
}

fn wait(call: &mut Call<'_>) -> Outcome {
    let (mut strict, mut any_one, mut timeout) = (false, false, None);
    while let Some(letter) = call.option(b"Iiaort")? {
        match letter {
            b'i' => strict = true,
            b'I' => strict = false,
            b'o' => any_one = true,
            b'a' => any_one = false,
            b'r' => timeout = Some(0),
            _ => timeout = Some(call.number()?),
        }
    }
    let mut pids = Vec::new();
    // Without a block it waits for all, too.
    let block = match call.rest() {
        [] => Vec::new(),
        _ => call.block()?,
    };
    for word in block {
        let pid = i32::try_from(call.parse(&word)?)
            .ok()
            .and_then(Pid::from_raw);
        pids.push(pid.ok_or_else(|| call.usage())?);
    }
    let mut awaited = Awaited { pids, any_one };
    let ended = match timeout {
        None => match awaited.collect(WaitOptions::empty()) {
            Waited::Over(code) => code,
            Waited::Not => None,
        },
        Some(ms) => match collect_within(&mut awaited, ms) {
            Ok(code) => code,
            Err(_) if !strict => None,
            Err(errno) => {
                call.fatal(&format_args!("unable to wait: {}", describe(errno)), SYSTEM);
                return Err(99);
            }
        },
    };
    match ended {
        Some(code) if any_one => call.env.set("?".as_ref(), code.to_string().as_ref()),
        _ => call.env.unset("?".as_ref()),
    }
    call.exec_rest()
}

/// Waits for at most so many milliseconds; 0 means what has ended already.
fn collect_within(awaited: &mut Awaited, ms: u32) -> Result<Option<u8>, Errno> {
    let child = SignalSet::EMPTY.with(Signal::CHLD);
    let before = set_blocked(child);
    let result = wait_for_children(awaited, ms, child);
    set_blocked(before);
    result
}

fn wait_for_children(
    awaited: &mut Awaited,
    ms: u32,
    child: SignalSet,
) -> Result<Option<u8>, Errno> {
    let signals = SignalFd::new(child)?;
    let start = std::time::Instant::now();
    let limit = std::time::Duration::from_millis(u64::from(ms));
    loop {
        if let Waited::Over(code) = awaited.collect(WaitOptions::NOHANG) {
            return Ok(code);
        }
        let left = limit.saturating_sub(start.elapsed());
        if left.is_zero() {
            return if ms == 0 {
                Ok(None)
            } else {
                Err(Errno::TIMEDOUT)
            };
        }
        let timeout = Timespec::try_from(left).map_err(|_| Errno::INVAL)?;
        let mut fds = [PollFd::new(&signals, PollFlags::IN)];
        if poll(&mut fds, Some(&timeout))? > 0 {
            signals.read()?;
        }
    }
}

fn homeof(call: &mut Call<'_>) -> Outcome {
    let name = call.word()?;
    let users = Users::load().unwrap_or_default();
    let user = name.to_str().and_then(|name| users.by_name(name));
    let Some(user) = user else {
        let text = format_args!(
            "unable to get passwd entry for {}: no such user",
            name.display()
        );
        return Err(call.fatal(&text, SYSTEM));
    };
    Ok(crate::applets::complain::say(&user.home))
}

/// Runs the program as a child and does something else than dying on signals.
fn trap(call: &mut Call<'_>) -> Outcome {
    while call.option(b"x")?.is_some() {}
    let block = call.block()?;
    let mut inner = call.over(&block);
    let mut reactions: Vec<(Signal, Vec<OsString>)> = Vec::new();
    let mut set = SignalSet::EMPTY.with(Signal::CHLD);
    while !inner.rest().is_empty() {
        let name = inner.word()?;
        let signal = name
            .to_str()
            .and_then(|name| Signal::parse(&name.to_uppercase()));
        let Some(signal) = signal else {
            let text = format_args!("unrecognized signal: {}", name.display());
            return Err(call.fatal(&text, USAGE));
        };
        set = set.with(signal);
        reactions.push((signal, inner.block()?));
    }
    set_blocked(set);
    let opened = SignalFd::new(set);
    let signals = opened.map_err(|errno| call.refused(&"wait for signals", &describe(errno)))?;
    let child = call.start(call.rest(), None, None)?;
    loop {
        while let Some(received) = signals.read().unwrap_or(None) {
            let reaction = reactions
                .iter()
                .find(|(signal, _)| *signal == received.signal);
            if let Some((_, argv)) = reaction {
                call.env.set("!".as_ref(), child.id().to_string().as_ref());
                let mut handler = call.start(argv, None, None)?;
                call.wait(&mut handler)?;
            }
        }
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        if let Ok(Some((_, status))) = waitpid(pid, WaitOptions::NOHANG) {
            return Ok(code_of(status));
        }
        let mut fds = [PollFd::new(&signals, PollFlags::IN)];
        let _ = poll(&mut fds, None);
    }
}
