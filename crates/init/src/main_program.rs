//! What the container's CMD becomes (contract section 3.6).
//!
//! Pure: whether a word is an executable on `PATH` is asked of the caller, because `PATH` may lead
//! into the volume, where only setup may look.

/// What to run as the main program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// This program, as the service user.
    AsServiceUser(Vec<String>),
    /// This program as it stands, as the container's user: the image has its own way in.
    AsIs(Vec<String>),
    /// No main program: the gateway of this profile is supervised instead.
    SupervisedGateway {
        /// The profile, `default` for the root one.
        profile: String,
    },
    /// No main program: the container lives until it is stopped.
    None,
}

/// Facts about the image and the container that decide the route.
#[derive(Clone, Debug)]
pub struct Image<'a> {
    /// A home is configured and its service user exists (or we already are an unprivileged user).
    pub has_home_and_user: bool,
    /// The program that runs where CMD is empty (`HERM_MAIN`): a name, or `none`.
    pub default_program: Option<&'a str>,
    /// `HERMES_GATEWAY_NO_SUPERVISE` is set to a true value.
    pub no_supervise: bool,
}

/// The agent's command, and ours where no agent is installed.
const AGENT: &str = "hermes";
const OURS: &str = "herm";

/// An image's own wrapper around CMD, as the upstream image's entry point names it. It drops
/// privileges itself and must get the container's user.
pub(crate) const WRAPPER_SUFFIX: &str = "/main-wrapper.sh";

/// Decides what runs. `is_program` tells whether a word names an executable, on `PATH` or by path.
pub fn route(cmd: &[String], image: &Image<'_>, is_program: &dyn Fn(&str) -> bool) -> Route {
    let Some(first) = cmd.first() else {
        return default_route(image, is_program);
    };
    if !image.has_home_and_user || first.ends_with(WRAPPER_SUFFIX) {
        return Route::AsIs(cmd.to_vec());
    }
    let (agent_args, program) = if first == AGENT || first == OURS {
        (cmd.get(1..).unwrap_or_default(), first.as_str())
    } else if is_program(first) {
        return Route::AsServiceUser(cmd.to_vec());
    } else {
        (cmd, agent_program(is_program))
    };
    if let Some(profile) = gateway_run_profile(agent_args)
        && !image.no_supervise
    {
        return Route::SupervisedGateway { profile };
    }
    let mut argv = Vec::with_capacity(agent_args.len() + 1);
    argv.push(program.to_owned());
    argv.extend_from_slice(agent_args);
    Route::AsServiceUser(argv)
}

fn default_route(image: &Image<'_>, is_program: &dyn Fn(&str) -> bool) -> Route {
    let program = match image.default_program {
        Some("none") => return Route::None,
        Some(name) => name,
        None if !image.has_home_and_user => return Route::None,
        None => agent_program(is_program),
    };
    let argv = vec![program.to_owned()];
    if image.has_home_and_user {
        Route::AsServiceUser(argv)
    } else {
        Route::AsIs(argv)
    }
}

fn agent_program(is_program: &dyn Fn(&str) -> bool) -> &'static str {
    if is_program(AGENT) { AGENT } else { OURS }
}

/// The profile of `[-p NAME] gateway run [--replace]`; `None` for any other command line, also
/// where `--no-supervise` asks for the foreground.
fn gateway_run_profile(args: &[String]) -> Option<String> {
    let mut profile = "default".to_owned();
    let mut words = Vec::new();
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        if arg == "-p" || arg == "--profile" {
            profile.clone_from(rest.next()?);
        } else if let Some(name) = arg.strip_prefix("--profile=") {
            name.clone_into(&mut profile);
        } else if arg == "--no-supervise" {
            return None;
        } else {
            words.push(arg.as_str());
        }
    }
    match words.as_slice() {
        ["gateway", "run"] | ["gateway", "run", "--replace"] => Some(profile),
        _ => None,
    }
}

/// Whether the CMD is the dashboard alone, which leaves the profiles to another container.
pub fn is_dashboard_only(route: &Route) -> bool {
    match route {
        Route::AsServiceUser(argv) | Route::AsIs(argv) => {
            let words: Vec<&str> = argv.iter().map(String::as_str).collect();
            match words.as_slice() {
                [AGENT | OURS, "dashboard", ..] => true,
                // An image's own wrapper makes the agent's of what follows.
                [wrapper, AGENT, "dashboard", ..] | [wrapper, "dashboard", ..] => {
                    wrapper.ends_with(WRAPPER_SUFFIX)
                }
                _ => false,
            }
        }
        Route::SupervisedGateway { .. } | Route::None => false,
    }
}

/// The values that mean yes in an environment variable (contract section 3.5), in any case.
pub fn is_true(value: &str) -> bool {
    ["1", "true", "yes"]
        .iter()
        .any(|yes| value.eq_ignore_ascii_case(yes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGE: Image<'static> = Image {
        has_home_and_user: true,
        default_program: None,
        no_supervise: false,
    };

    fn routed(cmd: &str, image: &Image<'_>, programs: &[&str]) -> Route {
        let words: Vec<String> = cmd.split_whitespace().map(str::to_owned).collect();
        route(&words, image, &|word| programs.contains(&word))
    }

    fn as_user(argv: &str) -> Route {
        Route::AsServiceUser(argv.split_whitespace().map(str::to_owned).collect())
    }

    #[test]
    fn a_program_on_the_path_runs_as_it_stands() {
        let programs = ["sleep", "bash", "hermes"];
        assert_eq!(
            routed("sleep infinity", &IMAGE, &programs),
            as_user("sleep infinity")
        );
        assert_eq!(routed("bash", &IMAGE, &programs), as_user("bash"));
    }

    #[test]
    fn anything_else_goes_to_the_agent() {
        let programs = ["hermes"];
        assert_eq!(
            routed("chat -q hi", &IMAGE, &programs),
            as_user("hermes chat -q hi")
        );
        assert_eq!(
            routed("--version", &IMAGE, &programs),
            as_user("hermes --version")
        );
        assert_eq!(routed("--tui", &IMAGE, &[]), as_user("herm --tui"));
    }

    #[test]
    fn without_a_cmd_the_default_runs() {
        assert_eq!(routed("", &IMAGE, &["hermes"]), as_user("hermes"));
        assert_eq!(routed("", &IMAGE, &[]), as_user("herm"));
        let none = Image {
            default_program: Some("none"),
            ..IMAGE
        };
        assert_eq!(routed("", &none, &["hermes"]), Route::None);
    }

    #[test]
    fn gateway_run_is_supervised_instead_of_run() {
        let supervised = |profile: &str| Route::SupervisedGateway {
            profile: profile.to_owned(),
        };
        for cmd in ["gateway run", "hermes gateway run", "gateway run --replace"] {
            assert_eq!(
                routed(cmd, &IMAGE, &["hermes"]),
                supervised("default"),
                "{cmd}"
            );
        }
        for cmd in ["-p work gateway run", "hermes --profile=work gateway run"] {
            assert_eq!(
                routed(cmd, &IMAGE, &["hermes"]),
                supervised("work"),
                "{cmd}"
            );
        }
    }

    #[test]
    fn gateway_run_stays_in_the_foreground_on_demand() {
        assert_eq!(
            routed("gateway run --no-supervise", &IMAGE, &["hermes"]),
            as_user("hermes gateway run --no-supervise")
        );
        let variable = Image {
            no_supervise: true,
            ..IMAGE
        };
        assert_eq!(
            routed("gateway run", &variable, &["hermes"]),
            as_user("hermes gateway run")
        );
    }

    #[test]
    fn an_images_own_wrapper_and_images_without_a_home_are_left_alone() {
        let wrapped = "/opt/hermes/docker/main-wrapper.sh gateway run";
        let as_is = |cmd: &str| Route::AsIs(cmd.split_whitespace().map(str::to_owned).collect());
        assert_eq!(routed(wrapped, &IMAGE, &["hermes"]), as_is(wrapped));
        let other = Image {
            has_home_and_user: false,
            ..IMAGE
        };
        assert_eq!(routed("nginx -g x", &other, &[]), as_is("nginx -g x"));
        assert_eq!(routed("", &other, &["hermes"]), Route::None);
    }

    #[test]
    fn the_dashboard_alone_is_recognised() {
        assert!(is_dashboard_only(&routed("dashboard", &IMAGE, &["hermes"])));
        let wrapped = "/opt/hermes/docker/main-wrapper.sh dashboard --no-open";
        assert!(is_dashboard_only(&routed(wrapped, &IMAGE, &["hermes"])));
        assert!(!is_dashboard_only(&routed("gateway run", &IMAGE, &[])));
    }
}
