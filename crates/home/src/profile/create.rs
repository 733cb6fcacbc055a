//! Making a profile: empty, or after another's example.

use std::time::SystemTime;

use crate::discover::discover;
use crate::error::HomeError;
use crate::files::{Dir, PRIVATE, PRIVATE_DIR};
use crate::layout::{HERM_DIR, Home, SEEDED_DIRS, SOUL};
use crate::name::{NameError, ProfileName};
use crate::profile::{META, NO_SKILLS, clone};
use crate::staging::Staging;

/// The persona of a profile for which no template is at hand.
const SOUL_TEXT: &str = "You are a capable, friendly assistant. Be direct and concise, say what \
you don't know, and put being useful before everything else.\n";

const NO_SKILLS_TEXT: &str = "This profile was created without the bundled skills and gets none \
at updates. Delete this file to have them.\n";

/// What a new profile is made of.
#[derive(Debug, Clone, Default)]
pub struct CreateOptions {
    /// Another profile to take from.
    pub source: Source,
    /// The profile is to have none of the bundled skills. Not together with a source, whose skills
    /// are copied.
    pub no_skills: bool,
    /// What the profile is for.
    pub description: Option<String>,
    /// Content of its SOUL.md where it isn't copied; herm's own text if `None`.
    pub soul: Option<Vec<u8>>,
}

/// What is taken from another profile.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Source {
    /// Nothing.
    #[default]
    Empty,
    /// `--clone`: configuration, environment, persona, skills and memories.
    Config(ProfileName),
    /// `--clone-all`: everything but history, runtime files and what can serve one profile only.
    All(ProfileName),
}

/// A profile that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// Its name.
    pub name: ProfileName,
    /// What its owner should know: settings that were not copied, and what to do about them.
    pub notes: Vec<String>,
}

/// Makes a profile. It appears whole or not at all, and is recorded as nothing: creating a profile
/// is no order to start it.
pub fn create(
    home: &Home,
    name: &ProfileName,
    options: &CreateOptions,
    now: SystemTime,
) -> Result<Created, HomeError> {
    if name.is_default() {
        return Err(NameError::Reserved.into());
    }
    if options.no_skills && options.source != Source::Empty {
        return Err(HomeError::Usage(
            "--no-skills can't be combined with cloning, which copies the source's skills: use one of them".to_owned(),
        ));
    }
    ensure_free(home, name)?;
    let staging = Staging::begin(home)?;
    let dir = staging.dir();
    let notes = match &options.source {
        Source::Empty => Vec::new(),
        Source::Config(source) => clone::config(home, source, name, dir, now)?,
        Source::All(source) => clone::all(home, source, name, dir, now)?,
    };
    seed(dir, options)?;
    if options.source != Source::Empty {
        dir.sync_all()?;
    }
    staging.publish(name)?;
    Ok(Created {
        name: name.clone(),
        notes,
    })
}

/// Refuses a name that is taken, by a profile or by anything else.
pub(crate) fn ensure_free(home: &Home, name: &ProfileName) -> Result<(), HomeError> {
    let found = discover(home)?;
    let taken = found.profiles.contains(name)
        || std::fs::symlink_metadata(home.profile(name).dir()).is_ok();
    if taken {
        Err(HomeError::Exists {
            name: name.to_string(),
        })
    } else {
        Ok(())
    }
}

fn seed(dir: &Dir, options: &CreateOptions) -> Result<(), HomeError> {
    for name in SEEDED_DIRS {
        dir.ensure_child(name, 0o755)?;
    }
    dir.ensure_child(HERM_DIR, PRIVATE_DIR)?;
    if !dir.exists(SOUL) {
        let soul = options.soul.as_deref().unwrap_or(SOUL_TEXT.as_bytes());
        dir.write_atomic(SOUL, soul, 0o644)?;
    }
    if options.no_skills {
        dir.write_atomic(NO_SKILLS, NO_SKILLS_TEXT.as_bytes(), 0o644)?;
    }
    if let Some(text) = options
        .description
        .as_deref()
        .map(str::trim)
        .filter(|text| !text.is_empty())
    {
        dir.write_atomic(META, &meta(text), PRIVATE)?;
    }
    Ok(())
}

/// The agent's `profile.yaml`. A JSON string is a YAML string.
fn meta(description: &str) -> Vec<u8> {
    let quoted = serde_json::Value::from(description);
    format!("description: {quoted}\ndescription_auto: false\n").into_bytes()
}
