//! `cargo xtask image`: the images `herm:dev` and `herm-hermes:dev` from their Dockerfiles.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Args;

use crate::base::base;
use crate::dist::{QUICK, RELEASE, dist, target_directory};
use crate::docker::builder;
use crate::host;
use crate::run::{capture, command, run};

/// What `cargo xtask image` can be told.
#[derive(Args, Default)]
pub(crate) struct Options {
    /// Build herm:dev only
    #[arg(long)]
    without_agent: bool,
    /// Optimise less: sooner built, for trying a change; not what is shipped
    #[arg(long)]
    quick: bool,
    /// Also build what only the end-to-end tests run: herm-upstream:dev, an agent's image made for s6-overlay
    #[arg(long, conflicts_with = "without_agent")]
    for_tests: bool,
}

/// The variable that names another tag than `dev`, for several checkouts that share one engine; the end-to-end tests obey it
/// too.
const TAG_VARIABLE: &str = "HERM_IMAGE_TAG";
/// pip's settings that say where packages come from; everything else is the Dockerfile's.
const PIP_SETTINGS: &[&str] = &[
    "index-url",
    "extra-index-url",
    "trusted-host",
    "default-timeout",
    "timeout",
    "retries",
];
/// Variables that name a bundle of certificates, the most specific first.
const CERTIFICATES: &[&str] = &["PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"];
/// Variables every build may use without a trace in the image (Docker predefines them).
const PROXIES: &[&str] = &[
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
];

impl Options {
    /// What the benchmarks need.
    pub(crate) fn without_agent() -> Self {
        Self {
            without_agent: true,
            ..Self::default()
        }
    }

    /// What the end-to-end tests need.
    pub(crate) fn for_tests() -> Self {
        Self {
            for_tests: true,
            ..Self::default()
        }
    }
}

/// The image of this name that this checkout builds.
pub(crate) fn tag(name: &str) -> String {
    let tag = std::env::var(TAG_VARIABLE);
    format!("{name}:{}", tag.as_deref().unwrap_or("dev"))
}

/// Builds the archive, a base where one is needed, and the images.
pub(crate) fn image(options: &Options) -> Result<()> {
    host::start_engine()?;
    dist(if options.quick { &QUICK } else { &RELEASE })?;
    let base = base()?;
    build(&tag("herm"), "docker/herm.Dockerfile", base, &[])?;
    if options.without_agent {
        return Ok(());
    }
    let secrets = Secrets::collect()?.arguments();
    let dockerfile = "docker/herm-hermes.Dockerfile";
    build(&tag("herm-hermes"), dockerfile, base, &secrets)?;
    if options.for_tests {
        let dockerfile = "tests/e2e/images/upstream/Dockerfile";
        build(&tag("herm-upstream"), dockerfile, base, &secrets)?;
    }
    Ok(())
}

fn build(tag: &str, dockerfile: &str, base: &str, secrets: &[String]) -> Result<()> {
    let start = Instant::now();
    let mut build = builder()?;
    build.args(["--tag", tag, "--file", dockerfile]);
    build.args(["--build-arg", &format!("BASE_IMAGE={base}")]);
    build.args([
        "--build-arg",
        concat!("HERM_VERSION=", env!("CARGO_PKG_VERSION")),
    ]);
    for name in PROXIES
        .iter()
        .filter(|name| std::env::var_os(name).is_some())
    {
        build.args(["--build-arg", name]);
    }
    for secret in secrets {
        build.args(["--secret", secret]);
    }
    run(build.arg(".")).with_context(|| format!("could not build {tag}"))?;
    println!("{tag} built in {:.0} s", start.elapsed().as_secs_f64());
    Ok(())
}

/// What this machine needs in order to reach a package index, given to a build and never to an image.
struct Secrets {
    certificates: Option<String>,
    pip_settings: Option<PathBuf>,
}

impl Secrets {
    fn collect() -> Result<Self> {
        let certificates = CERTIFICATES.iter().find_map(|name| {
            std::env::var(name)
                .ok()
                .filter(|path| Path::new(path).is_file())
        });
        let configured = capture(&mut pip_config()).unwrap_or_default();
        let settings = pip_conf(&configured);
        let pip_settings = settings
            .map(|text| write_private("pip.conf", &text))
            .transpose()?;
        Ok(Self {
            certificates,
            pip_settings,
        })
    }

    fn arguments(&self) -> Vec<String> {
        let certificates = self
            .certificates
            .iter()
            .map(|path| format!("id=ca,src={path}"));
        let settings = self
            .pip_settings
            .iter()
            .map(|path| format!("id=pip.conf,src={}", path.display()));
        certificates.chain(settings).collect()
    }
}

fn pip_config() -> Command {
    command("python3", &["-m", "pip", "config", "list"])
}

/// A pip.conf with the settings of `pip config list` (`global.timeout='9'`, `:env:.timeout='9'`)
/// that say where packages come from; a variable wins over a file, as in pip.
fn pip_conf(listed: &str) -> Option<String> {
    let mut lines = Vec::new();
    for name in PIP_SETTINGS {
        let of_origin = |origin: &str| {
            let prefix = format!("{origin}.{name}=");
            listed.lines().find_map(|line| line.strip_prefix(&prefix))
        };
        if let Some(value) = [":env:", "install", "global"]
            .into_iter()
            .find_map(of_origin)
        {
            lines.push(format!("{name} = {}", value.trim_matches('\'')));
        }
    }
    (!lines.is_empty()).then(|| format!("[global]\n{}\n", lines.join("\n")))
}

/// An index address may hold a password.
fn write_private(name: &str, text: &str) -> Result<PathBuf> {
    fs::create_dir_all(target_directory())?;
    let path = target_directory().join(name);
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("could not create {}", path.display()))?;
    file.write_all(text.as_bytes())?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pip_settings_of_the_host_reach_the_build_and_variables_win() {
        let listed = ":env:.timeout='180'\n:env:.find-links='/wheels'\nglobal.cert='/bundle.pem'\n\
                      global.index-url='https://packages.example/simple'\nglobal.timeout='9'\n";
        let expected = "[global]\nindex-url = https://packages.example/simple\ntimeout = 180\n";
        assert_eq!(pip_conf(listed).unwrap(), expected);
    }

    #[test]
    fn a_host_without_settings_gives_the_build_none() {
        assert_eq!(pip_conf("global.cert='/bundle.pem'\n"), None);
    }
}
