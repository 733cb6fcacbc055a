//! The home's own steps: made, owned, private, seeded.
//!
//! All of it runs as root where there is root, in a directory that agents write to. So everything
//! goes through [`herm_sys::fs_at`]: nothing here takes a path into the home.

use std::io;
use std::path::{Path, PathBuf};

use herm_sys::fs_at::{Dir, Made, Owner, is_left_of};

use super::api_key;
use super::installed::Installed;
use super::ownership::{self, Unfinished};
use super::plan::Ids;
use super::report::{Reporter, advice};
use crate::environment::Environment;

/// The directories of a home (contract section 2).
pub(super) const SEEDED_DIRS: [&str; 10] = [
    "cron",
    "sessions",
    "logs",
    "hooks",
    "memories",
    "skills",
    "skins",
    "plans",
    "workspace",
    "home",
];

/// Where the named profiles are.
pub(super) const PROFILES: &str = "profiles";

const SOUL: &str = "SOUL.md";

/// A file seeded from the image's templates, and the mode it always has.
struct Template {
    name: &'static str,
    source: &'static str,
    mode: u32,
}

const TEMPLATES: [Template; 3] = [
    Template {
        name: ".env",
        source: ".env.example",
        mode: 0o600,
    },
    Template {
        name: "config.yaml",
        source: "cli-config.yaml.example",
        mode: 0o640,
    },
    Template {
        name: SOUL,
        source: "docker/SOUL.md",
        mode: 0o644,
    },
];

/// Modes that are put right at each boot.
const PRIVATE_FILES: [(&str, u32); 3] = [
    ("config.yaml", 0o640),
    (".env", 0o600),
    ("auth.json", 0o600),
];

const DIR_MODE: u32 = 0o755;
const PRIVATE_MODE: u32 = 0o600;

/// Largest template or `.env` that is read, in bytes.
pub(super) const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// Why the home can't be prepared at all.
#[derive(Debug, thiserror::Error)]
#[error(
    "the home {} can't be used: {source}; mount a volume there that the container's user can write, \
     or set HERMES_HOME to another directory",
    home.display()
)]
pub(super) struct HomeError {
    home: PathBuf,
    source: io::Error,
}

/// What of the home is not over, or is others' to do, when its steps are.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// A repair of ownership that goes on.
    pub(super) unfinished: Option<Unfinished>,
    /// Variables for everything that is started.
    pub(super) variables: Vec<(String, String)>,
    /// Skills come with the agent.
    pub(super) has_skills: bool,
}

/// Prepares the home for `user`; without one everything belongs to whoever runs this.
pub(super) fn prepare(
    home: &Path,
    user: Option<&Ids>,
    environment: &Environment,
    reporter: &mut Reporter,
) -> Result<Outcome, HomeError> {
    let unusable = |source| HomeError {
        home: home.to_owned(),
        source,
    };
    let make = (!reporter.is_dry_run()).then_some(DIR_MODE);
    let opened = reporter.step("home", |_| Dir::open_configured(home, make));
    let dir = match opened {
        Ok((dir, made)) => {
            if made == Made::New {
                reporter.did(&format!("make the home {}", home.display()));
            }
            dir
        }
        Err(error) if reporter.is_dry_run() && error.kind() == io::ErrorKind::NotFound => {
            reporter.did(&format!("make the home {}", home.display()));
            return Ok(Outcome::default());
        }
        Err(error) => return Err(unusable(error)),
    };
    let installed = Installed::open(environment, reporter);
    let mut outcome = Outcome {
        has_skills: installed.has_skills()
            || environment.get_nonempty("HERMES_BUNDLED_SKILLS").is_some(),
        ..Outcome::default()
    };
    let mut steps = HomeSteps {
        dir,
        owner: user.map(Ids::owner),
        reporter,
    };
    steps.step("leftovers", HomeSteps::sweep);
    steps.step("ownership", |steps| {
        if let Some(owner) = steps.owner {
            outcome.unfinished =
                ownership::give_home(&steps.dir, owner, environment, steps.reporter)?;
        }
        Ok(())
    });
    steps.step("directories", HomeSteps::make_dirs);
    steps.step("seeds", |steps| steps.seed(&installed));
    steps.step("auth", |steps| steps.bootstrap_auth(environment));
    steps.step("api key", |steps| steps.make_api_key(environment));
    steps.step("permissions", HomeSteps::fix_modes);
    steps.step("install stamp", |steps| {
        installed.heal_stamp(&steps.dir, steps.reporter)
    });
    steps.step("lazy installs", |steps| {
        let owner = steps.owner.unwrap_or_else(Owner::own);
        let target = installed.lazy_target(home, owner, environment, steps.reporter)?;
        outcome.variables.extend(target);
        Ok(())
    });
    Ok(outcome)
}

struct HomeSteps<'a> {
    dir: Dir,
    owner: Option<Owner>,
    reporter: &'a mut Reporter,
}

impl HomeSteps<'_> {
    /// Runs a step; what goes wrong in it is told and does not keep the others from running.
    fn step(&mut self, name: &str, work: impl FnOnce(&mut Self) -> io::Result<()>) {
        let start = self.reporter.begin(name);
        let result = work(self);
        self.reporter.end(name, start, result.as_ref().err());
        if let Err(error) = result {
            let advice = advice(&error);
            self.reporter.warn(&format!("{name}: {error}{advice}"));
        }
    }

    /// Removes what a setup that was killed while it wrote a file has left.
    fn sweep(&mut self) -> io::Result<()> {
        let written = PRIVATE_FILES.iter().map(|(name, _)| *name).chain([SOUL]);
        for found in self.dir.names()? {
            if written.clone().any(|name| is_left_of(&found, name)) {
                self.reporter
                    .did(&format!("remove the unfinished {}", found.display()));
                if !self.reporter.is_dry_run() {
                    self.dir.remove(&found)?;
                }
            }
        }
        Ok(())
    }

    fn make_dirs(&mut self) -> io::Result<()> {
        let mut missing = Vec::new();
        for name in SEEDED_DIRS.iter().chain(&[PROFILES]) {
            if !self.dir.has(name)? {
                missing.push(*name);
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        self.reporter
            .did(&format!("make the directories {}", missing.join(", ")));
        if self.reporter.is_dry_run() {
            return Ok(());
        }
        for name in missing {
            if self.dir.make_dir(name, DIR_MODE)? == Made::New
                && let Some(owner) = self.owner
            {
                self.dir.set_owner(name, owner)?;
            }
        }
        Ok(())
    }

    /// Copies templates of the image to files that are absent; what the image lacks is skipped.
    fn seed(&mut self, installed: &Installed) -> io::Result<()> {
        for template in &TEMPLATES {
            if self.dir.has(template.name)? {
                continue;
            }
            if let Some(contents) = installed.read(template.source, MAX_FILE_BYTES)? {
                self.create(template.name, &contents, template.mode)?;
            }
        }
        Ok(())
    }

    /// Writes `auth.json` from the environment once; a token that was rotated since is never
    /// overwritten.
    fn bootstrap_auth(&mut self, environment: &Environment) -> io::Result<()> {
        match environment.get_nonempty("HERMES_AUTH_JSON_BOOTSTRAP") {
            Some(auth) if !self.dir.has("auth.json")? => {
                self.create("auth.json", auth.as_bytes(), PRIVATE_MODE)
            }
            Some(_) | None => Ok(()),
        }
    }

    fn make_api_key(&mut self, environment: &Environment) -> io::Result<()> {
        let file = self
            .dir
            .read_if_present(".env", MAX_FILE_BYTES)?
            .unwrap_or_default();
        let lookup = |name: &str| environment.get(name).map(str::to_owned);
        let Some(edited) = api_key::with_key(&file, &lookup, api_key::random_key)? else {
            return Ok(());
        };
        self.reporter
            .did("add a random API_SERVER_KEY to .env, because the API server is on without one");
        self.write(".env", &edited, PRIVATE_MODE)
    }

    fn fix_modes(&mut self) -> io::Result<()> {
        for (name, mode) in PRIVATE_FILES {
            let Some(stat) = self.dir.stat(name)? else {
                continue;
            };
            let now = stat.st_mode & 0o7777;
            if now == mode {
                continue;
            }
            self.reporter
                .did(&format!("mode of {name}: {now:04o} -> {mode:04o}"));
            if !self.reporter.is_dry_run() {
                self.dir.set_mode(name, mode)?;
            }
        }
        Ok(())
    }

    fn create(&mut self, name: &str, contents: &[u8], mode: u32) -> io::Result<()> {
        self.reporter.did(&format!("make {name}"));
        self.write(name, contents, mode)
    }

    fn write(&mut self, name: &str, contents: &[u8], mode: u32) -> io::Result<()> {
        if self.reporter.is_dry_run() {
            return Ok(());
        }
        self.dir.write_atomic(name, contents, mode, self.owner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, symlink};

    struct World {
        root: tempfile::TempDir,
        variables: Vec<(String, String)>,
    }

    fn world() -> World {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("image/docker")).unwrap();
        fs::write(root.path().join("image/.env.example"), "# keys\n").unwrap();
        fs::write(root.path().join("image/docker/SOUL.md"), "soul\n").unwrap();
        let install = root.path().join("image").display().to_string();
        World {
            root,
            variables: vec![("HERM_INSTALL_DIR".to_owned(), install)],
        }
    }

    impl World {
        fn with(mut self, name: &str, value: &str) -> Self {
            self.variables.push((name.to_owned(), value.to_owned()));
            self
        }

        fn home(&self, name: &str) -> PathBuf {
            self.root.path().join("home").join(name)
        }

        fn prepare(&self, user: Option<&Ids>, dry_run: bool) -> Reporter {
            let environment = Environment::from_variables(
                self.variables
                    .iter()
                    .map(|(name, value)| (OsString::from(name), OsString::from(value))),
            );
            let mut reporter = Reporter::new(dry_run);
            prepare(&self.home(""), user, &environment, &mut reporter).unwrap();
            reporter
        }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    fn somebody() -> Ids {
        Ids {
            name: None,
            uid: 4711,
            gid: 4712,
            groups: Vec::new(),
        }
    }

    fn is_root() -> bool {
        let root = rustix::process::geteuid().is_root();
        if !root {
            println!("skipped: only root gives files away");
        }
        root
    }

    #[test]
    fn a_fresh_home_is_seeded_and_a_second_boot_changes_nothing() {
        let world = world().with("HERMES_AUTH_JSON_BOOTSTRAP", "{}");
        assert!(world.prepare(None, false).changed());
        assert_eq!(fs::read_to_string(world.home("SOUL.md")).unwrap(), "soul\n");
        assert_eq!(mode(&world.home(".env")), 0o600);
        assert_eq!(mode(&world.home("auth.json")), 0o600);
        assert!(world.home("profiles").is_dir() && world.home("workspace").is_dir());
        assert!(
            !world.home("config.yaml").exists(),
            "the image has no template of it"
        );
        assert!(!world.prepare(None, false).changed());
    }

    #[test]
    fn a_dry_run_tells_and_does_nothing() {
        let world = world();
        fs::create_dir(world.home("")).unwrap();
        assert!(world.prepare(None, true).changed());
        assert_eq!(fs::read_dir(world.home("")).unwrap().count(), 0);
    }

    #[test]
    fn a_rotated_token_is_never_overwritten() {
        let world = world().with("HERMES_AUTH_JSON_BOOTSTRAP", "old");
        world.prepare(None, false);
        fs::write(world.home("auth.json"), "rotated").unwrap();
        world.prepare(None, false);
        assert_eq!(
            fs::read_to_string(world.home("auth.json")).unwrap(),
            "rotated"
        );
    }

    #[test]
    fn l25_modes_and_owners_are_put_right_also_deep_under_correct_parents() {
        if !is_root() {
            return;
        }
        let world = world();
        let user = somebody();
        world.prepare(Some(&user), false);
        fs::create_dir_all(world.home("profiles/a/cron")).unwrap();
        world.prepare(Some(&user), false);
        // As a boot without a writable /run leaves it.
        fs::create_dir_all(world.home(".herm/run")).unwrap();
        let planted = world.home("profiles/a/cron/jobs.json");
        fs::write(&planted, "[]").unwrap();
        fs::write(world.home("config.yaml"), "a: 1").unwrap();
        assert!(world.prepare(Some(&user), false).changed());
        let records = world.home(".herm/run");
        for path in [
            &planted,
            &records,
            &world.home("config.yaml"),
            &world.home(""),
        ] {
            let found = fs::metadata(path).unwrap();
            assert_eq!(
                (found.uid(), found.gid()),
                (4711, 4712),
                "{}",
                path.display()
            );
        }
        assert_eq!(mode(&world.home("config.yaml")), 0o640);
        assert!(!world.prepare(Some(&user), false).changed());
    }

    #[test]
    fn l26_what_the_user_keeps_in_workspace_stays_the_users() {
        if !is_root() {
            return;
        }
        let world = world();
        world.prepare(Some(&somebody()), false);
        fs::write(world.home("workspace/mine"), "x").unwrap();
        fs::create_dir(world.home("own-mount")).unwrap();
        fs::write(world.home("own-mount/mine"), "x").unwrap();
        world.prepare(Some(&somebody()), false);
        assert_eq!(fs::metadata(world.home("workspace/mine")).unwrap().uid(), 0);
        assert_eq!(fs::metadata(world.home("own-mount/mine")).unwrap().uid(), 0);
    }

    #[test]
    fn l27_links_planted_in_the_home_lead_nowhere() {
        if !is_root() {
            return;
        }
        let world = world();
        world.prepare(Some(&somebody()), false);
        let secret = world.root.path().join("secret");
        fs::write(&secret, "root's").unwrap();
        symlink(&secret, world.home("config.yaml")).unwrap();
        symlink(world.root.path(), world.home("logs/up")).unwrap();
        fs::remove_file(world.home(".env")).unwrap();
        fs::hard_link(&secret, world.home(".env")).unwrap();
        fs::hard_link(&secret, world.home("cron/linked")).unwrap();
        world.prepare(Some(&somebody()), false);
        let found = fs::metadata(&secret).unwrap();
        assert_eq!((found.uid(), found.mode() & 0o777), (0, 0o644));
        assert_eq!(fs::read_to_string(&secret).unwrap(), "root's");
        assert_eq!(fs::metadata(world.root.path()).unwrap().uid(), 0);
    }
}
