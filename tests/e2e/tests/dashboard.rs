//! The dashboard in a real browser, in front of real containers. What is done there is written in
//! `tests/e2e/browser`, a scenario a file; here is what stands behind it.

use std::fs::File;
use std::process::Command;

use herm_e2e::{Container, Image, Options, Volume, docker, repository};

const USERNAME: &str = "operator";
const PASSWORD: &str = "correct horse battery staple";
const PORT: &str = "9119";

/// A container whose dashboard can be reached from this machine, and asks who comes.
fn with_dashboard(image: &Image) -> Options {
    Container::of(image)
        .flag(&format!("--publish=127.0.0.1::{PORT}"))
        .env("HERMES_DASHBOARD", "1")
        .env("HERMES_DASHBOARD_HOST", "0.0.0.0")
        .env("HERMES_DASHBOARD_BASIC_AUTH_USERNAME", USERNAME)
        .env("HERMES_DASHBOARD_BASIC_AUTH_PASSWORD", PASSWORD)
        .command(&["sleep", "infinity"])
}

#[test]
fn no_gateway_is_given_what_signs_in_to_the_dashboard() {
    let container = started(&with_dashboard(&Image::herm_dev()));
    container.exec(&["herm", "gateway", "start"]).succeeds();
    let environment = |service: &str| {
        let pid = container.service_field(service, "pid");
        let environ = container.sh(&format!("tr '\\0' '\\n' < /proc/{pid}/environ"));
        environ.succeeds().to_owned()
    };
    assert!(environment("dashboard").contains(PASSWORD));
    let gateways = environment("gateway-default");
    assert!(gateways.contains("HERMES_HOME=/opt/data"), "{gateways}");
    assert!(
        !gateways.contains(PASSWORD) && !gateways.contains("BASIC_AUTH"),
        "{gateways}"
    );
    let explained = container.exec(&["herm", "service", "env", "gateway-default"]);
    let explained = explained.succeeds();
    assert!(
        explained.contains("HERMES_DASHBOARD_BASIC_AUTH_PASSWORD"),
        "{explained}"
    );
    assert!(!explained.contains(PASSWORD), "{explained}");
}

fn started(options: &Options) -> Container {
    let container = options.run();
    container.wait_booted();
    container.wait_states(&[("dashboard", "running")]);
    container
}

/// Node.js, and where it finds the dashboard. It runs in the container's own network where it may: in
/// the machine's, Chromium takes every container that comes or goes for a change of the network, and
/// breaks off the connections that it is making.
fn in_front_of(dashboard: &Container) -> (Command, String) {
    let network = format!("/proc/{}/ns/net", dashboard.host_pid());
    if File::open(&network).is_ok() {
        let mut inside = Command::new("nsenter");
        inside.args([&format!("--net={network}"), "node"]);
        return (inside, format!("127.0.0.1:{PORT}"));
    }
    let published = docker(&["port", dashboard.name(), PORT]);
    let address = published.succeeds().lines().next().unwrap_or_default();
    (Command::new("node"), address.to_owned())
}

/// Plays a scenario in front of a container's dashboard; what it does in a container it does in
/// `inside`.
#[track_caller]
fn play(scenario: &str, dashboard: &Container, inside: &Container) {
    let (mut browser, address) = in_front_of(dashboard);
    // Whatever a scenario waits for has a guard of its own.
    let played = browser
        .arg(repository().join("tests/e2e/browser").join(scenario))
        .env("HERM_DASHBOARD", format!("http://{address}"))
        .env("HERM_CONTAINER", inside.name())
        .env("HERM_USERNAME", USERNAME)
        .env("HERM_PASSWORD", PASSWORD)
        .env("HERM_SHOTS", repository().join("target/screenshots"))
        .output()
        .unwrap_or_else(|error| panic!("can't start node: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (said, complaint) = (text(&played.stdout), text(&played.stderr));
    assert!(played.status.success(), "{scenario}:\n{said}{complaint}");
}

/// Makes profiles and starts their gateways, which are the script `command`: its first word is the
/// profile's name.
fn with_gateways(container: &Container, command: &str, profiles: &[&str]) {
    container
        .exec_with_input(
            &["sh", "-c", "cat > /opt/data/gateway.sh"],
            command.as_bytes(),
        )
        .succeeds();
    let settings = "[gateway]\ncommand = [\"bash\", \"/opt/data/gateway.sh\", \"{profile}\"]\n\
                    [restart]\nburst = 3\n";
    container
        .exec_with_input(
            &["sh", "-c", "cat > /opt/data/herm.toml"],
            settings.as_bytes(),
        )
        .succeeds();
    container.exec(&["herm", "reconcile"]).succeeds();
    let script = "for name in \"$@\"; do herm profile create \"$name\" --description \"Looks after $name\" || exit 1; done\n\
                  for name in default \"$@\"; do case $name in idle*) ;; *) herm -p \"$name\" gateway start --no-wait || exit 1;; esac; done";
    let mut argv = vec!["sh", "-c", script, "sh"];
    argv.extend(profiles);
    container.exec(&argv).succeeds();
}

#[test]
fn an_operator_creates_starts_watches_stops_and_deletes_real_gateways_in_a_browser() {
    let container = started(&with_dashboard(&Image::hermes()));
    play("operate.mjs", &container, &container);
}

#[test]
fn the_pages_need_no_script() {
    let container = started(&with_dashboard(&Image::herm_dev()));
    play("plain.mjs", &container, &container);
}

/// Gateways of every fate: names with a meaning for the script below, and enough others for a page to
/// be full.
const MANY: [&str; 17] = [
    "writer",
    "reader",
    "parked",
    "broken",
    "idle",
    "idle-two",
    "a-name-that-is-as-long-as-somebody-wanted-it-to-be-for-a-reason",
    "calendar",
    "data-cleaner",
    "home-assistant",
    "invoice-clerk",
    "mailroom",
    "price-watch",
    "recruiter",
    "researcher",
    "reviewer",
    "translator",
];
const FATES: &str = r#"
case $1 in
    parked) echo "ERROR discord: the token is missing" >&2; exit 78;;
    broken) echo "ERROR could not log in: 401 Unauthorized" >&2; exit 1;;
esac
trap 'exit 0' TERM
echo "INFO gateway of $1 is ready"
while [ ! -e "/opt/data/fail-$1" ]; do echo "WARNING rate limited, retrying"; read -r -t 2 <> <(:); done
exit 1
"#;

#[test]
fn every_page_is_clear_accessible_and_still_in_every_light_and_size() {
    let container = started(&with_dashboard(&Image::herm_dev()));
    with_gateways(&container, FATES, &MANY);
    container.wait_states(&[
        ("gateway-writer", "running"),
        ("gateway-parked", "parked"),
        ("gateway-broken", "failed"),
        ("gateway-translator", "running"),
    ]);
    play("look.mjs", &container, &container);
}

/// Prints what no page should believe.
const HOSTILE: &str = r"
trap 'exit 0' TERM
printf '<img src=x onerror=alert(1)>\n'
printf '\033[31mred\033[0m \033]0;a title\007\033]8;;http://evil.example\033\\link\033]8;;\033\\ \033[2J\033[999D\n'
printf 'a\000b\010\010\177\033[\n'
head -c 10000000 /dev/zero | tr '\0' '\033'; echo
printf 'last line\n'
sleep infinity & wait
";

#[test]
fn no_log_no_profile_and_no_other_site_is_trusted_by_the_pages() {
    let container = started(&with_dashboard(&Image::herm_dev()));
    let files = "cd /opt/data && umask 077 && echo '<script>alert(2)</script>' > SOUL.md && \
                 printf 'DISCORD_BOT_TOKEN=hunter2-hunter2\\n' > .env && \
                 printf 'model:\\n  api_key: sk-ant-0123456789\\n  default: \"<i>x</i>\"\\n' > config.yaml";
    container.sh(files).succeeds();
    with_gateways(&container, HOSTILE, &[]);
    container.wait_states(&[("gateway-default", "running")]);
    play("trust.mjs", &container, &container);
}

#[test]
fn l73_the_buttons_of_one_container_reach_the_gateways_of_another() {
    let home = Volume::new();
    let owner = Container::of(&Image::herm_dev())
        .volume(&home, "/opt/data")
        .command(&["sleep", "infinity"])
        .run();
    owner.wait_booted();
    owner
        .exec(&["herm", "profile", "create", "alpha"])
        .succeeds();
    owner
        .exec(&["herm", "-p", "alpha", "gateway", "start"])
        .succeeds();
    let other = started(&with_dashboard(&Image::herm_dev()).volume(&home, "/opt/data"));
    other.wait_states(&[("gateway-alpha", "remote")]);
    play("elsewhere.mjs", &other, &owner);
}

/// L90: a slot that is up proves nothing; what is asserted is that the page answers, and that it does
/// so with a login wherever it can be reached from outside (L72).
#[test]
fn l90_the_dashboard_of_a_container_answers_and_a_public_one_asks_who_is_there() {
    let public = Container::of(&Image::herm_dev())
        .env("HERMES_DASHBOARD", "1")
        .env("HERMES_DASHBOARD_HOST", "0.0.0.0")
        .command(&["sleep", "infinity"])
        .run();
    public.wait_booted();
    public.wait_states(&[("dashboard", "running")]);
    let page = public.http_get(9119, "/").expect("an answer");
    assert_eq!(page.status, 303, "{page:?}");
    let login = public.http_get(9119, "/login").expect("an answer");
    assert!(login.status == 200 && login.body.contains("herm dashboard token show"));
    let token = public.exec(&["herm", "dashboard", "token", "show"]);
    let bearer = format!("Bearer {}", token.succeeds());
    let status = public
        .http(
            9119,
            "GET",
            "/api/v1/status",
            &[("Authorization", &bearer)],
            "",
        )
        .expect("an answer");
    assert_eq!(status.status, 200, "{status:?}");
    assert!(public.logs().contains("herm dashboard token show"));
}
