//! `herm profile …`. What changes the home also has the keeper look at it, so that services are as
//! the home says when the command returns.

use std::fs::{self, File};
use std::io::{self, BufRead as _, IsTerminal as _, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use herm_home::archive::{self, Limits};
use herm_home::handover::Request;
use herm_home::profile::{self, CreateOptions, ProfileInfo, Source};
use herm_home::{Desired, ProfileName, intent};
use herm_wire::{ExitCode, Op, ServiceView, VerbOptions};
use serde::Serialize;

use super::{remote, services_of};
use crate::cli::{CreateArgs, DeleteArgs, ExportArgs, Format, ImportArgs, ProfileCommand};
use crate::client::Client;
use crate::context::{Context, home_failure, parse_name};
use crate::failure::{Failure, Outcome};
use crate::output::{Out, Table, Tone, tone_of, word};

/// A profile as it is printed: what the home says and how its gateway is.
#[derive(Debug, Serialize)]
struct Profile<'a> {
    #[serde(flatten)]
    info: &'a ProfileInfo,
    service: Option<&'a ServiceView>,
}

/// Carries out a command of the family.
pub(super) fn run(context: &Context, command: ProfileCommand) -> Outcome {
    match command {
        ProfileCommand::Create(args) => create(context, args),
        ProfileCommand::List(format) => list(context, format),
        ProfileCommand::Show { name, format } => show(context, &name, format),
        ProfileCommand::Rename { old, new } => rename(context, &old, &new),
        ProfileCommand::Delete(args) => delete(context, &args),
        ProfileCommand::Export(args) => export(context, &args),
        ProfileCommand::Import(args) => import(context, &args),
    }
}

fn create(context: &Context, args: CreateArgs) -> Outcome {
    let name = new_name(&args.name)?;
    let source = source(&args)?;
    let mut client = context.open()?;
    let soul = soul_template();
    let options = CreateOptions {
        source,
        no_skills: args.no_skills,
        description: args.description,
        soul,
    };
    let created = profile::create(context.home(), &name, &options, SystemTime::now())
        .map_err(home_failure)?;
    for note in &created.notes {
        eprintln!("herm: {note}");
    }
    Context::settle(client.as_mut())?;
    report_new(context, &name, args.format, "created")
}

fn new_name(typed: &str) -> Outcome<ProfileName> {
    ProfileName::for_new(typed).map_err(|error| home_failure(error.into()))
}

/// `--clone-from` alone means `--clone`.
fn source(args: &CreateArgs) -> Outcome<Source> {
    let from = args
        .clone_from
        .as_deref()
        .map_or_else(|| Ok(ProfileName::default_profile()), parse_name)?;
    Ok(if args.clone_all {
        Source::All(from)
    } else if args.clone || args.clone_from.is_some() {
        Source::Config(from)
    } else {
        Source::Empty
    })
}

/// The image's text for new profiles, where it has one.
pub(super) fn soul_template() -> Option<Vec<u8>> {
    let install = std::env::var_os("HERM_INSTALL_DIR").unwrap_or_else(|| "/opt/hermes".into());
    fs::read(Path::new(&install).join("docker/SOUL.md")).ok()
}

fn report_new(context: &Context, name: &ProfileName, format: Format, verb: &str) -> Outcome {
    let mut out = Out::stdout();
    if format.json {
        out.json(&profile::show(context.home(), name).map_err(home_failure)?)?;
    } else {
        let dir = context.home().profile(name).dir().display().to_string();
        out.line(format!(
            "Profile {name} {verb} in {dir}. Start it: herm -p {name} gateway start"
        ))?;
    }
    out.flush()
}

fn services(client: Option<&mut Client>) -> Outcome<Vec<ServiceView>> {
    client.map_or_else(
        || Ok(Vec::new()),
        |client| services_of(client).map(|(_, services)| services),
    )
}

fn with_services<'a>(info: &'a ProfileInfo, services: &'a [ServiceView]) -> Profile<'a> {
    let service = services
        .iter()
        .find(|service| service.profile.as_ref() == Some(&info.name));
    Profile { info, service }
}

fn list(context: &Context, format: Format) -> Outcome {
    let mut client = context.open()?;
    let services = services(client.as_mut())?;
    let infos = profile::list(context.home()).map_err(home_failure)?;
    let profiles: Vec<Profile<'_>> = infos
        .iter()
        .map(|info| with_services(info, &services))
        .collect();
    let mut out = Out::stdout();
    if format.json {
        out.json(&profiles)?;
    } else {
        let mut table = Table::new(&[
            "PROFILE",
            "GATEWAY",
            "DESIRED",
            "PORT",
            "MODEL",
            "DESCRIPTION",
        ]);
        for profile in &profiles {
            table.row(row(profile));
        }
        out.table(&table)?;
    }
    out.flush()
}

fn row(profile: &Profile<'_>) -> Vec<(String, Tone)> {
    let dash = || "-".to_owned();
    let (state, tone) = profile.service.map_or((dash(), Tone::Dim), |service| {
        (word(service.state).to_owned(), tone_of(service.state))
    });
    let port = profile
        .service
        .and_then(|service| service.port)
        .or_else(|| profile.info.ports.first().copied());
    vec![
        (profile.info.name.clone(), Tone::Plain),
        (state, tone),
        (
            profile
                .info
                .desired
                .map_or_else(dash, |desired| desired.to_string()),
            Tone::Plain,
        ),
        (port.map_or_else(dash, |port| port.to_string()), Tone::Plain),
        (profile.info.model.clone().unwrap_or_else(dash), Tone::Plain),
        (
            profile.info.description.clone().unwrap_or_default(),
            Tone::Dim,
        ),
    ]
}

fn show(context: &Context, name: &str, format: Format) -> Outcome {
    let name = parse_name(name)?;
    let mut client = context.open()?;
    let info = profile::show(context.home(), &name).map_err(home_failure)?;
    let services = services(client.as_mut())?;
    let profile = with_services(&info, &services);
    let mut out = Out::stdout();
    if format.json {
        out.json(&profile)?;
        return out.flush();
    }
    let ports: Vec<String> = info.ports.iter().map(ToString::to_string).collect();
    let facts = [
        ("Profile", Some(info.name.clone())),
        ("Path", Some(info.path.display().to_string())),
        ("About", info.description.clone()),
        (
            "Gateway",
            profile
                .service
                .map(|service| word(service.state).to_owned()),
        ),
        ("Desired", info.desired.map(|desired| desired.to_string())),
        (
            "It says",
            info.gateway_state
                .clone()
                .filter(|said| info.desired.is_none_or(|desired| desired.as_str() != said)),
        ),
        ("Model", info.model.clone()),
        ("Provider", info.provider.clone()),
        (
            "Ports",
            Some(ports.join(", ")).filter(|ports| !ports.is_empty()),
        ),
        (
            "Logs in",
            Some(info.tokens.join(", ")).filter(|tokens| !tokens.is_empty()),
        ),
        ("Problem", info.problem.clone()),
    ];
    for (title, value) in facts {
        if let Some(value) = value {
            out.line(format!("{:<9} {value}", format!("{title}:")))?;
        }
    }
    out.flush()
}

/// Down under the old name, up under the new one: a directory can't move under a running gateway.
fn rename(context: &Context, old: &str, new: &str) -> Outcome {
    let (old, new) = (parse_name(old)?, new_name(new)?);
    if old.is_default() {
        return Err(
            Failure::usage("the default profile is the home itself and can't be renamed")
                .hint("make another profile of it: `herm profile create NAME --clone-all`"),
        );
    }
    if old == new {
        return say_renamed(&old, &new);
    }
    let mut client = context.open()?;
    if finish_interrupted(context, &old, &new)? {
        Context::settle(client.as_mut())?;
        return say_renamed(&old, &new);
    }
    context.check_exists(&old)?;
    if context.discover()?.profiles.contains(&new) {
        return Err(home_failure(herm_home::HomeError::Exists {
            name: new.to_string(),
        }));
    }
    if let Some(owner) = owner_elsewhere(client.as_mut(), &old)? {
        let to = new.to_string();
        remote::hand_over(context, &owner, &request(remote::Verb::Rename { to }, &old))?;
        Context::settle(client.as_mut())?;
        return say_renamed(&old, &new);
    }
    let wanted = move_profile(context, client.as_mut(), &old, &new)?;
    Context::settle(client.as_mut())?;
    if let Some(client) = client.as_mut().filter(|_| wanted) {
        client.ask(&Op::Start {
            name: new.service(),
            options: VerbOptions::default(),
        })?;
    }
    say_renamed(&old, &new)
}

fn say_renamed(old: &ProfileName, new: &ProfileName) -> Outcome {
    let mut out = Out::stdout();
    out.line(format!("Profile {old} is now {new}."))?;
    out.flush()
}

/// Where the same command was interrupted before and no keeper has ended it, ends it.
fn finish_interrupted(context: &Context, old: &ProfileName, new: &ProfileName) -> Outcome<bool> {
    if !context.discover()?.half_renamed.contains(new) {
        return Ok(false);
    }
    let before = profile::mend_rename(context.home(), new, SystemTime::now());
    Ok(before.map_err(home_failure)?.as_ref() == Some(old))
}

/// Takes the old one down and moves its directory; whether its gateway is wanted. Interrupted anywhere,
/// the profile is there under one of the names, and wanted as before.
fn move_profile(
    context: &Context,
    client: Option<&mut Client>,
    old: &ProfileName,
    new: &ProfileName,
) -> Outcome<bool> {
    let home = context.home();
    let record = intent::peek(&home.profile(old)).map_err(home_failure)?;
    profile::begin_rename(home, old, new).map_err(home_failure)?;
    let unregistered = client.map_or(Ok(()), |client| unregister(client, old));
    let moved = unregistered
        .and_then(|()| profile::rename(home, old, new, SystemTime::now()).map_err(home_failure));
    if moved.is_err() && home.profile(old).dir().exists() {
        profile::give_up_rename(home, old).map_err(home_failure)?;
    }
    moved?;
    Ok(record.is_some_and(|record| record.state == Desired::Running))
}

/// Done when the last process of its gateway is gone.
fn unregister(client: &mut Client, name: &ProfileName) -> Outcome {
    let unregistered = client.ask(&Op::Unregister {
        name: name.service(),
    });
    match unregistered {
        Ok(_) => Ok(()),
        Err(failure) if failure.code == ExitCode::NotFound => Ok(()),
        Err(failure) => Err(failure),
    }
}

fn delete(context: &Context, args: &DeleteArgs) -> Outcome {
    let name = parse_name(&args.name)?;
    let mut client = context.open()?;
    let home = context.home();
    let interrupted = profile::is_deleting(home, &name).map_err(home_failure)?;
    if !interrupted && !name.is_default() {
        context.check_exists(&name)?;
    }
    if !args.yes && !name.is_default() {
        confirm(&name, home.profile(&name).dir())?;
    }
    if let Some(owner) = owner_elsewhere(client.as_mut(), &name)? {
        remote::hand_over(context, &owner, &request(remote::Verb::Delete, &name))?;
        return finish_delete(client.as_mut(), &name);
    }
    let now = SystemTime::now();
    profile::begin_delete(home, &name, now).map_err(home_failure)?;
    if let Some(client) = client.as_mut() {
        unregister(client, &name)
            .map_err(|failure| failure.hint("repeat the command to finish the deletion"))?;
    }
    profile::finish_delete(home, &name, now).map_err(home_failure)?;
    finish_delete(client.as_mut(), &name)
}

fn finish_delete(client: Option<&mut Client>, name: &ProfileName) -> Outcome {
    Context::settle(client)?;
    let mut out = Out::stdout();
    out.line(format!("Profile {name} is deleted."))?;
    out.flush()
}

/// The instance that runs a profile's gateway, where that is another one: what has to stop it first
/// is that one's to do.
fn owner_elsewhere(client: Option<&mut Client>, name: &ProfileName) -> Outcome<Option<String>> {
    client.map_or(Ok(None), |client| remote::owner_of(client, &name.service()))
}

fn request(verb: remote::Verb, profile: &ProfileName) -> Request {
    Request {
        verb,
        profile: profile.to_string(),
        no_wait: false,
        timeout_ms: None,
    }
}

/// Asks a person; where there is none to ask, `-y` has to be said.
fn confirm(name: &ProfileName, dir: &Path) -> Outcome {
    let refused = |why: &str| {
        Failure::usage(format!("{name} is not deleted: {why}"))
            .hint("use -y to delete without asking")
    };
    if !io::stdin().is_terminal() {
        return Err(refused("there is nobody to ask"));
    }
    eprint!(
        "Delete profile {name} with everything in {}? [y/N] ",
        dir.display()
    );
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    if matches!(answer.trim().to_lowercase().as_str(), "y" | "yes") {
        Ok(())
    } else {
        Err(refused("you said no"))
    }
}

/// The archive is the caller's: opened as who asked, before this process becomes the service user.
fn export(context: &Context, args: &ExportArgs) -> Outcome {
    let name = parse_name(&args.name)?;
    let target = args
        .output
        .clone()
        .unwrap_or_else(|| PathBuf::from(format!("{name}.tar.gz")));
    if target == Path::new("-") {
        context.open()?;
        archive::export(context.home(), &name, io::stdout().lock()).map_err(home_failure)?;
        return Ok(());
    }
    context.check_exists(&name)?;
    let mut partial = Partial::create(&target)?;
    context.open()?;
    let exported =
        archive::export(context.home(), &name, &mut partial.file).map_err(home_failure)?;
    partial.file.flush()?;
    partial.file.sync_all()?;
    partial.keep();
    for link in &exported.links {
        eprintln!("herm: {link} is a link and was left out");
    }
    let mut out = Out::stdout();
    out.line(format!(
        "Profile {name} is exported to {} ({} files). Keys and tokens are not in it.",
        target.display(),
        exported.files
    ))?;
    out.flush()
}

/// A file that is removed again unless it is completed.
///
/// It is written in place: after the change of user a rename in the caller's directory may not be
/// possible any more, nor a removal, so a failure empties what can't be removed.
struct Partial {
    path: PathBuf,
    file: File,
    done: bool,
}

impl Partial {
    fn create(path: &Path) -> Outcome<Self> {
        let file = emptied(path).map_err(|error| Failure::file("create", path, &error))?;
        Ok(Self {
            path: path.to_owned(),
            file,
            done: false,
        })
    }

    fn keep(&mut self) {
        self.done = true;
    }
}

/// Makes or empties a file. Root may have named one in a directory that an agent writes to as well:
/// then no link planted there leads anywhere, and no file in disguise is emptied.
fn emptied(path: &Path) -> io::Result<File> {
    if !rustix::process::geteuid().is_root() {
        return File::create(path);
    }
    let careful = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .custom_flags(i32::try_from(careful.bits()).unwrap_or(0))
        .open(path)?;
    let found = file.metadata()?;
    if !found.is_file() || found.nlink() > 1 {
        return Err(io::Error::other(
            "it is no regular file, or has other hard links",
        ));
    }
    file.set_len(0)?;
    Ok(file)
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.done && fs::remove_file(&self.path).is_err() && self.file.set_len(0).is_err() {
            eprintln!("herm: {} is incomplete", self.path.display());
        }
    }
}

/// Another name is the way out for what an archive calls itself.
fn import_failure(error: herm_home::HomeError, file: &Path) -> Failure {
    let taken = matches!(
        error,
        herm_home::HomeError::Exists { .. } | herm_home::HomeError::Name(_)
    );
    let failure = home_failure(error).about(&file.display().to_string());
    if taken {
        failure.hint("give it another name: `--name NAME`")
    } else {
        failure
    }
}

fn import(context: &Context, args: &ImportArgs) -> Outcome {
    let name = args.name.as_deref().map(new_name).transpose()?;
    let file = File::open(&args.file).map_err(|error| Failure::file("read", &args.file, &error))?;
    let mut client = context.open()?;
    let imported = archive::import(context.home(), file, name.as_ref(), Limits::default())
        .map_err(|error| import_failure(error, &args.file))?;
    Context::settle(client.as_mut())?;
    report_new(context, &imported.name, args.format, "imported")
}
