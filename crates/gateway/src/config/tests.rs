//! Whole profiles, from their files to what the gateway makes of them.

use herm_home::{Home, ProfileName};
use proptest::prelude::*;

use super::*;

const KEY: &str = "0123456789abcdef0123";

fn load_as(
    profile: &str,
    yaml: &str,
    dotenv: &str,
    process: &[(&str, &str)],
) -> Result<Config, String> {
    let root = tempfile::tempdir().unwrap();
    let profile = Home::new(root.path()).profile(&ProfileName::parse(profile).unwrap());
    std::fs::create_dir_all(profile.dir()).unwrap();
    std::fs::write(profile.config(), yaml).unwrap();
    std::fs::write(profile.dotenv(), dotenv).unwrap();
    let process = process
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    Environment::load(&profile, process)
        .and_then(|env| Config::load(&profile, None, &env))
        .map_err(|error| error.to_string())
}

fn load(yaml: &str, dotenv: &str) -> Result<Config, String> {
    load_as("default", yaml, dotenv, &[])
}

fn provider(yaml: &str, dotenv: &str) -> Provider {
    load(yaml, dotenv).unwrap().provider.unwrap()
}

fn shown(provider: &Provider) -> (String, String, Option<String>) {
    let key = provider.key.as_ref().map(|key| key.expose().to_owned());
    (provider.endpoint.to_string(), provider.model.clone(), key)
}

#[test]
fn a_profile_without_configuration_has_defaults_and_no_provider() {
    let config = load("", "").unwrap();
    assert_eq!((config.host.as_str(), config.port), ("127.0.0.1", 8642));
    assert_eq!(config.advertised_model, "hermes-agent");
    assert!(config.key.is_none());
    assert!(config.provider.is_none());
    let named = load_as("writer", "", "", &[]).unwrap();
    assert_eq!(named.advertised_model, "writer");
}

#[test]
fn an_endpoint_of_ones_own_needs_no_key_and_gets_no_other_providers() {
    let yaml = "model:\n  default: m\n  provider: custom\n  base_url: http://localhost:1/v1/\n";
    assert_eq!(
        shown(&provider(
            yaml,
            "OPENAI_API_KEY=sk-openai\nOPENROUTER_API_KEY=x\n"
        )),
        (
            "http://localhost:1/v1/chat/completions".into(),
            "m".into(),
            None
        )
    );
}

#[test]
fn keys_come_from_key_env_then_from_the_file_then_from_the_usual_variable() {
    let model = "model:\n  model: m\n  provider: openai\n  base_url: http://h/v1\n";
    let key = |more: &str, dotenv: &str| shown(&provider(&format!("{model}{more}"), dotenv)).2;
    let env = "OPENAI_API_KEY=usual\nMINE=mine\n";
    assert_eq!(key("", env).as_deref(), Some("usual"));
    assert_eq!(key("  api_key: written\n", env).as_deref(), Some("written"));
    assert_eq!(key("  api_key: ${MINE}\n", env).as_deref(), Some("mine"));
    assert_eq!(
        key("  api_key: written\n  key_env: MINE\n", env).as_deref(),
        Some("mine")
    );
}

#[test]
fn well_known_and_named_providers_are_found() {
    let openrouter = "model: {default: a/b, provider: openrouter}";
    let dotenv = "OPENROUTER_API_KEY=k\nOPENROUTER_BASE_URL=http://or.example/v1";
    assert_eq!(
        shown(&provider(openrouter, dotenv)),
        (
            "http://or.example/v1/chat/completions".into(),
            "a/b".into(),
            Some("k".into())
        )
    );
    assert_eq!(
        shown(&provider("model: just-a-name", "DEEPSEEK_API_KEY=k")).1,
        "just-a-name"
    );
    let named =
        "model: {provider: Local}\nproviders: {local: {api: http://h/v1, default_model: x}}";
    assert_eq!(
        shown(&provider(named, "")),
        ("http://h/v1/chat/completions".into(), "x".into(), None)
    );
    let listed = "model: {default: m2, provider: 'custom:my-box'}\n\
                  custom_providers: [{name: My Box, base_url: http://b, api_key: s}]";
    assert_eq!(
        shown(&provider(listed, "")),
        (
            "http://b/chat/completions".into(),
            "m2".into(),
            Some("s".into())
        )
    );
    assert!(load("model: a/b", "").unwrap().provider.is_none());
    assert!(
        load("model: {default: a, provider: auto}", "")
            .unwrap()
            .provider
            .is_none()
    );
}

#[test]
fn settings_of_the_server_come_from_env_before_the_document() {
    let yaml =
        "platforms: {api_server: {extra: {port: 9001, host: 0.0.0.0, key: abcdefghijklmnop}}}";
    let config = load(yaml, "").unwrap();
    assert_eq!((config.host.as_str(), config.port), ("0.0.0.0", 9001));
    assert!(config.key.is_some());
    let config = load(
        yaml,
        "export API_SERVER_PORT='9002' # mine\nAPI_SERVER_HOST=::1",
    )
    .unwrap();
    assert_eq!((config.host.as_str(), config.port), ("::1", 9002));
}

#[test]
fn l53_port_and_key_in_the_containers_environment_are_the_default_profiles() {
    let process = [("API_SERVER_PORT", "9300"), ("API_SERVER_KEY", KEY)];
    let default = load_as("default", "", "", &process).unwrap();
    assert_eq!((default.port, default.key.is_some()), (9300, true));
    let named = load_as("writer", "", "", &process).unwrap();
    assert_eq!(named.port, 8642);
    assert!(named.key.is_none());
    assert_eq!(
        load_as("default", "", "API_SERVER_PORT=9400", &process)
            .unwrap()
            .port,
        9400
    );
}

#[test]
fn what_cannot_work_is_named_by_place_and_key_and_without_its_value() {
    for (yaml, dotenv, parts) in [
        ("model: [", "", ["config.yaml", "no valid YAML"]),
        ("- a\n- b", "", ["config.yaml", "mapping"]),
        (
            "model: {default: m, base_url: [1]}",
            "",
            ["model.base_url", "one value"],
        ),
        ("model: [1]", "", ["model", "mapping"]),
        (
            "model: {default: m, base_url: 'hidden value'}",
            "",
            ["model.base_url", "URL"],
        ),
        (
            "model: {default: m, base_url: 'ftp://h/'}",
            "",
            ["model.base_url", "http"],
        ),
        (
            "model: {default: m, base_url: 'http://u:hidden@h'}",
            "",
            ["model.base_url", "password"],
        ),
        (
            "model: {base_url: 'http://h'}",
            "",
            ["model.default", "missing"],
        ),
        (
            "model: {default: m, provider: custom}",
            "",
            ["model.base_url", "missing"],
        ),
        (
            "model: {default: m, provider: openai-api}",
            "",
            ["model.provider", "OPENAI_API_KEY"],
        ),
        (
            "model: {default: m, provider: nowhere}",
            "",
            ["model.provider", "not known"],
        ),
        (
            "model: {default: m, base_url: 'http://h', key_env: UNSET}",
            "",
            ["model.key_env", "UNSET"],
        ),
        (
            "",
            "API_SERVER_KEY=hidden",
            [".env: API_SERVER_KEY", "16 characters"],
        ),
        (
            "",
            "API_SERVER_PORT=hidden",
            [".env: API_SERVER_PORT", "not a port"],
        ),
        (
            "",
            "API_SERVER_PORT=0",
            [".env: API_SERVER_PORT", "not a port"],
        ),
        (
            "platforms: {api_server: {extra: {port: 70000}}}",
            "",
            ["extra.port", "not a port"],
        ),
        (
            "providers: 7\nmodel: {provider: x}",
            "",
            ["providers", "mapping"],
        ),
    ] {
        let error = load(yaml, dotenv).unwrap_err();
        for part in parts {
            assert!(error.contains(part), "{error:?} should say {part:?}");
        }
        assert!(!error.contains("hidden"), "{error:?} shows a value");
    }
}

#[test]
fn unknown_keys_and_repeated_keys_are_no_errors() {
    let yaml = "model: {default: m, base_url: http://h, new: {a: [1]}}\nx: 1\nx: 2\n3: y\n";
    assert_eq!(shown(&provider(yaml, "")).1, "m");
}

#[test]
fn nothing_shows_a_secret_when_printed_for_debugging() {
    let yaml = "model: {default: m, base_url: http://h, api_key: hidden-upstream}";
    let config = load(yaml, "API_SERVER_KEY=hidden-key-0123456789").unwrap();
    assert!(!format!("{config:?}").contains("hidden"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_a_configuration_or_an_error(yaml in ".{0,120}(\n.{0,40}){0,4}", dotenv in ".{0,80}") {
        let _ = load(&yaml, &dotenv);
    }

    #[test]
    fn any_shape_of_the_known_keys_is_a_configuration_or_an_error(
        shapes in proptest::collection::vec(
            prop_oneof![
                Just("1"), Just("x"), Just("[1]"), Just("{}"), Just("~"), Just("true"),
                Just("{default: 1}"), Just("{provider: {}}"), Just("[{name: [x]}]"),
                Just("{extra: {port: []}}"), Just("{api_server: {extra: 5}}"),
            ],
            4,
        ),
    ) {
        let keys = ["model", "providers", "custom_providers", "platforms"];
        let lines: Vec<_> = keys.iter().zip(shapes).map(|(k, v)| format!("{k}: {v}")).collect();
        let _ = load(&lines.join("\n"), "");
    }
}
