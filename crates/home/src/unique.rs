//! What only one profile may have: the identities its gateway logs in with, and the ports it
//! listens on. Such a setting is claimed ([`crate::claims`]), never cloned and never inherited
//! from the container's or another profile's environment (L14, L53).
//!
//! The tables follow the agent's platform adapters (0.19.0): the tokens are those it locks itself,
//! or which a chat service gives to one connection only.

use std::collections::BTreeSet;

/// Settings of `.env` that are one account's identity at a chat service.
pub const TOKENS: [&str; 19] = [
    "DINGTALK_CLIENT_ID",
    "DISCORD_BOT_TOKEN",
    "EMAIL_ADDRESS",
    "FEISHU_APP_ID",
    "LINE_CHANNEL_ACCESS_TOKEN",
    "MATRIX_ACCESS_TOKEN",
    "MATTERMOST_TOKEN",
    "QQ_APP_ID",
    "SIGNAL_ACCOUNT",
    "SLACK_APP_TOKEN",
    "SLACK_BOT_TOKEN",
    "TEAMS_CLIENT_ID",
    "TELEGRAM_BOT_TOKEN",
    "TWILIO_PHONE_NUMBER",
    "WECOM_BOT_ID",
    "WECOM_CALLBACK_TOKEN",
    "WEIXIN_TOKEN",
    "WHATSAPP_CLOUD_ACCESS_TOKEN",
    "YUANBAO_APP_ID",
];

/// Secrets that belong to an identity of [`TOKENS`] and are useless or harmful without it.
const COMPANIONS: [&str; 16] = [
    "DINGTALK_CLIENT_SECRET",
    "EMAIL_PASSWORD",
    "FEISHU_APP_SECRET",
    "FEISHU_ENCRYPT_KEY",
    "FEISHU_VERIFICATION_TOKEN",
    "LINE_CHANNEL_SECRET",
    "MATRIX_PASSWORD",
    "MATRIX_RECOVERY_KEY",
    "QQ_CLIENT_SECRET",
    "TEAMS_CLIENT_SECRET",
    "TELEGRAM_WEBHOOK_SECRET",
    "TWILIO_ACCOUNT_SID",
    "TWILIO_AUTH_TOKEN",
    "WECOM_SECRET",
    "WHATSAPP_CLOUD_VERIFY_TOKEN",
    "YUANBAO_APP_SECRET",
];

/// A listener of the gateway: the setting of its port, and what switches it on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listener {
    /// The port's key in `.env`.
    pub port_key: &'static str,
    /// The port it takes if none is set.
    pub default_port: u16,
    /// A key in `.env` that switches the listener on when true.
    pub enabled_key: Option<&'static str>,
    /// A key in `.env` that switches the listener on when it has any value.
    pub presence_key: Option<&'static str>,
    /// Its name under `platforms:` in `config.yaml`.
    pub platform: &'static str,
    /// Its port's key under `extra:` there.
    pub extra_key: &'static str,
}

/// The API server's listener, which the built-in gateway also has.
pub const API_SERVER: Listener = Listener {
    port_key: "API_SERVER_PORT",
    default_port: 8642,
    enabled_key: Some("API_SERVER_ENABLED"),
    presence_key: Some("API_SERVER_KEY"),
    platform: "api_server",
    extra_key: "port",
};

/// All listeners the agent has with a port of its own.
pub const LISTENERS: [Listener; 8] = [
    API_SERVER,
    Listener {
        port_key: "WEBHOOK_PORT",
        default_port: 8644,
        enabled_key: Some("WEBHOOK_ENABLED"),
        presence_key: None,
        platform: "webhook",
        extra_key: "port",
    },
    Listener {
        port_key: "MSGRAPH_WEBHOOK_PORT",
        default_port: 8646,
        enabled_key: Some("MSGRAPH_WEBHOOK_ENABLED"),
        presence_key: None,
        platform: "msgraph_webhook",
        extra_key: "port",
    },
    Listener {
        port_key: "WHATSAPP_CLOUD_WEBHOOK_PORT",
        default_port: 8090,
        enabled_key: None,
        presence_key: Some("WHATSAPP_CLOUD_ACCESS_TOKEN"),
        platform: "whatsapp_cloud",
        extra_key: "webhook_port",
    },
    Listener {
        port_key: "SMS_WEBHOOK_PORT",
        default_port: 8080,
        enabled_key: None,
        presence_key: Some("TWILIO_ACCOUNT_SID"),
        platform: "sms",
        extra_key: "webhook_port",
    },
    Listener {
        port_key: "LINE_PORT",
        default_port: 8646,
        enabled_key: None,
        presence_key: Some("LINE_CHANNEL_ACCESS_TOKEN"),
        platform: "line",
        extra_key: "port",
    },
    Listener {
        port_key: "TEAMS_PORT",
        default_port: 3978,
        enabled_key: None,
        presence_key: Some("TEAMS_CLIENT_ID"),
        platform: "teams",
        extra_key: "port",
    },
    Listener {
        port_key: "BLUEBUBBLES_WEBHOOK_PORT",
        default_port: 8645,
        enabled_key: None,
        presence_key: Some("BLUEBUBBLES_PASSWORD"),
        platform: "bluebubbles",
        extra_key: "webhook_port",
    },
];

/// Whether a setting may stand in one profile only: an identity, its secrets, a port, the key of
/// the API server, or the switch of a listener (which without its own port would take the default
/// profile's).
pub fn is_unique(key: &str) -> bool {
    keys().contains(key)
}

/// All settings that may stand in one profile only: what a named profile's gateway must not get
/// from the container's environment, which belongs to the default profile. (A profile's own `.env`
/// is read by the agent itself.)
pub fn keys() -> BTreeSet<&'static str> {
    let listeners = LISTENERS
        .iter()
        .flat_map(|listener| {
            [
                Some(listener.port_key),
                listener.enabled_key,
                listener.presence_key,
            ]
        })
        .flatten();
    TOKENS
        .into_iter()
        .chain(COMPANIONS)
        .chain(listeners)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l53_tokens_and_ports_are_not_inherited_and_the_rest_is() {
        for unique in [
            "TELEGRAM_BOT_TOKEN",
            "API_SERVER_PORT",
            "API_SERVER_KEY",
            "API_SERVER_ENABLED",
        ] {
            assert!(is_unique(unique), "{unique}");
        }
        for shared in ["OPENROUTER_API_KEY", "PATH", "API_SERVER_HOST"] {
            assert!(!is_unique(shared), "{shared}");
        }
    }
}
