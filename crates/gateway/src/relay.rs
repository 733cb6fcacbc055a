//! Requests to the provider, and what its refusals mean to our client.

use std::error::Error;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use herm_home::Secret;
use reqwest::redirect::Policy;
use reqwest::{Client, Response, Url};
use serde_json::Value;

use crate::config::Provider;
use crate::error::ApiError;
use crate::tls;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Of silence, before the reply or within it. Models may think for minutes.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(600);
/// Of a reply that is not streamed.
const MAX_REPLY_BYTES: usize = 32 << 20;
/// Of a refusal's body that is looked at, and of its message that is passed on.
const MAX_ERROR_BYTES: usize = 64 << 10;
const MAX_MESSAGE_CHARACTERS: usize = 1000;

/// The way to one provider.
#[derive(Debug)]
pub(crate) struct Relay {
    client: Client,
    provider: Provider,
}

impl Relay {
    pub(crate) fn new(provider: Provider) -> Result<Self, String> {
        let tls = tls::client_config().map_err(|error| error.to_string())?;
        let mut builder = Client::builder()
            .use_preconfigured_tls(tls)
            .user_agent(concat!("herm/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(SILENCE_TIMEOUT)
            // A redirect would carry the conversation to a host nobody configured.
            .redirect(Policy::none());
        if is_loopback(&provider.endpoint) {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| root_cause(&error))?;
        Ok(Self { client, provider })
    }

    pub(crate) fn model(&self) -> &str {
        &self.provider.model
    }

    /// Sends a request. The answer is a success whose body has not been read yet; dropping it
    /// breaks the exchange off.
    pub(crate) async fn send(&self, body: &Value) -> Result<Response, ApiError> {
        let mut request = self
            .client
            .post(self.provider.endpoint.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .body(body.to_string());
        if let Some(key) = &self.provider.key {
            request = request.bearer_auth(key.expose());
        }
        let response = request.send().await.map_err(|error| self.lost(&error))?;
        if response.status().is_success() {
            Ok(response)
        } else {
            Err(self.refused(response).await)
        }
    }

    /// The whole body of an answer that must be JSON.
    pub(crate) async fn whole(&self, mut response: Response) -> Result<(Bytes, Value), ApiError> {
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.lost(&error))? {
            if bytes.len() + chunk.len() > MAX_REPLY_BYTES {
                return Err(bad_gateway(
                    "provider_reply_too_large",
                    "the provider's reply is too large",
                ));
            }
            bytes.extend_from_slice(&chunk);
        }
        match serde_json::from_slice(&bytes) {
            Ok(reply) => Ok((bytes.into(), reply)),
            Err(_) => Err(bad_gateway(
                "provider_reply_invalid",
                "the provider's reply is not JSON",
            )),
        }
    }

    /// The exchange failed below HTTP.
    pub(crate) fn lost(&self, error: &reqwest::Error) -> ApiError {
        let host = self.provider.endpoint.host_str().unwrap_or_default();
        let cause = root_cause(error);
        if error.is_timeout() {
            let message = format!("the provider at {host} did not answer in time");
            ApiError::upstream(StatusCode::GATEWAY_TIMEOUT, "provider_timeout", message)
        } else if error.is_connect() {
            let message = format!("the provider at {host} can't be reached: {cause}");
            bad_gateway("provider_unreachable", message)
        } else {
            let message = format!("the exchange with the provider at {host} broke: {cause}");
            bad_gateway("provider_broke_off", message)
        }
    }

    /// The provider answered, and not with a success.
    async fn refused(&self, mut response: Response) -> ApiError {
        let status = response.status();
        let retry_after = relayed_retry(response.headers());
        let mut body = Vec::new();
        while let Ok(Some(chunk)) = response.chunk().await {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_ERROR_BYTES {
                break;
            }
        }
        let said = self.said(&body);
        let message = match &said {
            Some(said) => format!("the provider answered {status}: {said}"),
            None => format!("the provider answered {status}"),
        };
        match status.as_u16() {
            // The client's own key was right; passing 401 on would send it looking there.
            401 | 403 => bad_gateway(
                "provider_auth_failed",
                format!("the provider refused this profile's credentials ({status})"),
            ),
            429 => {
                ApiError::upstream(status, "rate_limit_exceeded", message).retry_after(retry_after)
            }
            503 => {
                ApiError::upstream(status, "provider_unavailable", message).retry_after(retry_after)
            }
            400 | 402 | 404 | 409 | 413 | 422 => {
                ApiError::upstream(status, "provider_refused", message)
            }
            _ => bad_gateway("provider_failed", message),
        }
    }

    /// The provider's own words, if it put them where OpenAI's API does.
    fn said(&self, body: &[u8]) -> Option<String> {
        let body: Value = serde_json::from_slice(body).ok()?;
        let message = body
            .pointer("/error/message")
            .or_else(|| body.get("message"))?;
        let message = message.as_str()?;
        let message = match &self.provider.key {
            Some(key) => redacted(message, key),
            None => message.to_owned(),
        };
        Some(message.chars().take(MAX_MESSAGE_CHARACTERS).collect())
    }
}

fn bad_gateway(code: &'static str, message: impl Into<String>) -> ApiError {
    ApiError::upstream(StatusCode::BAD_GATEWAY, code, message)
}

/// Some providers repeat the key they were given in their refusal.
fn redacted(message: &str, key: &Secret) -> String {
    match key.expose() {
        "" => message.to_owned(),
        key => message.replace(key, "[redacted]"),
    }
}

fn relayed_retry(headers: &HeaderMap) -> Option<HeaderValue> {
    headers.get(header::RETRY_AFTER).cloned()
}

fn is_loopback(url: &Url) -> bool {
    match url.host_str() {
        Some("localhost" | "[::1]") => true,
        Some(host) => host
            .parse::<std::net::Ipv4Addr>()
            .is_ok_and(|address| address.is_loopback()),
        None => false,
    }
}

/// The innermost error; the outer ones of the HTTP client say only that sending failed.
fn root_cause(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
