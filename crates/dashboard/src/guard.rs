//! What every request passes: is it meant for us, may it do this; and what every answer carries.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, ORIGIN, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Redirect, Response};

use crate::app::App;
use crate::auth::Standing;
use crate::pages::error::{Problem, wants_json};

/// Who sent a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sender(pub(crate) IpAddr);

/// Nothing but our own files is loaded, nothing is inline, nobody frames us.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The outermost check: the host that is meant, the page that a change comes from.
pub(crate) async fn check(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let refusal = refuse(&app, &request);
    let mut response = match refusal {
        Some(problem) => problem.answer(request.headers(), request.uri().path()),
        None => next.run(request).await,
    };
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value: &'static str| {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    };
    set(CONTENT_SECURITY_POLICY, POLICY);
    set(X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(X_FRAME_OPTIONS, "DENY");
    set(REFERRER_POLICY, "same-origin");
    set(CACHE_CONTROL, "no-store");
    set(
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    );
    set(
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    );
    set(
        HeaderName::from_static("permissions-policy"),
        "camera=(), geolocation=(), microphone=()",
    );
    response
}

fn refuse(app: &App, request: &Request) -> Option<Problem> {
    let headers = request.headers();
    let Some(host) = headers.get(HOST).and_then(|host| host.to_str().ok()) else {
        return Some(Problem::new(
            StatusCode::BAD_REQUEST,
            "the request names no host",
        ));
    };
    // Without a login, a page elsewhere whose name leads here (DNS rebinding) would be let in. With
    // one it has no cookie of ours.
    if app.auth.is_open() && !is_loopback(host_name(host)) {
        let text = "this dashboard has no login, so it answers to localhost only: open it as \
                    http://127.0.0.1, or set HERMES_DASHBOARD_BASIC_AUTH_USERNAME and _PASSWORD";
        return Some(Problem::new(StatusCode::MISDIRECTED_REQUEST, text));
    }
    let is_change = !matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    );
    if is_change && !is_from_own_page(headers, host) {
        let text = "the change was asked for by another site's page and is refused";
        return Some(Problem::new(StatusCode::FORBIDDEN, text));
    }
    None
}

/// The name in `name`, `name:port` or `[address]:port`.
fn host_name(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split(']').next().unwrap_or_default();
    }
    host.split(':').next().unwrap_or_default()
}

fn is_loopback(name: &str) -> bool {
    name.eq_ignore_ascii_case("localhost")
        || name
            .parse::<IpAddr>()
            .is_ok_and(|address| address.to_canonical().is_loopback())
}

/// Browsers say where a change comes from; programs don't, and have no cookie that could be abused.
fn is_from_own_page(headers: &HeaderMap, host: &str) -> bool {
    let foreign_site = headers
        .get("sec-fetch-site")
        .is_some_and(|site| !matches!(site.as_bytes(), b"same-origin" | b"none"));
    if foreign_site {
        return false;
    }
    let Some(origin) = headers.get(ORIGIN) else {
        return true;
    };
    let Some((scheme, authority)) = origin.to_str().ok().and_then(|text| text.split_once("://"))
    else {
        return false;
    };
    let default = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return false,
    };
    let bare = |text: &str| text.trim_end_matches(default).to_ascii_lowercase();
    bare(authority) == bare(host)
}

/// Lets in who may look. A browser that may not is sent to the login.
pub(crate) async fn signed_in(
    State(app): State<Arc<App>>,
    mut request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path().to_owned();
    let standing = app.auth.standing(request.headers());
    if standing == Standing::Stranger {
        return Problem::new(StatusCode::UNAUTHORIZED, "the token is wrong")
            .answer(request.headers(), &path);
    }
    if standing == Standing::Nobody {
        let is_page = request.method() == Method::GET
            && !wants_json(request.headers(), &path)
            && path != "/metrics"
            && path != "/live"
            && !path.ends_with("/live");
        if is_page {
            let target = request
                .uri()
                .path_and_query()
                .map_or("/", |target| target.as_str());
            let query: String = encode(target);
            return Redirect::to(&format!("/login?next={query}")).into_response();
        }
        return Problem::new(StatusCode::UNAUTHORIZED, "sign in first")
            .answer(request.headers(), &path);
    }
    request.extensions_mut().insert(standing);
    next.run(request).await
}

/// Text as a value in a query (RFC 3986, unreserved characters as they are).
pub(crate) fn encode(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn only_loopback_names_are_ours_without_a_login() {
        for ours in [
            "localhost",
            "LOCALHOST:9119",
            "127.0.0.1:1",
            "[::1]:9119",
            "127.8.8.8",
        ] {
            assert!(is_loopback(host_name(ours)), "{ours}");
        }
        for other in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.nip.io:9119",
            "",
            "[::2]",
            "0.0.0.0",
        ] {
            assert!(!is_loopback(host_name(other)), "{other}");
        }
    }

    #[test]
    fn a_change_comes_from_our_own_page_or_from_no_page() {
        let host = "herm.example:9119";
        assert!(is_from_own_page(&headers(&[]), host));
        assert!(is_from_own_page(
            &headers(&[("origin", "https://HERM.example:9119")]),
            host
        ));
        assert!(is_from_own_page(
            &headers(&[("origin", "https://a"), ("sec-fetch-site", "same-origin")]),
            "a:443"
        ));
        for foreign in [
            "https://evil.example",
            "null",
            "http://herm.example",
            "file://herm.example:9119",
        ] {
            assert!(
                !is_from_own_page(&headers(&[("origin", foreign)]), host),
                "{foreign}"
            );
        }
        assert!(!is_from_own_page(
            &headers(&[("sec-fetch-site", "cross-site")]),
            host
        ));
    }

    #[test]
    fn a_target_is_encoded_whole() {
        assert_eq!(encode("/a?b=c&d"), "%2Fa%3Fb%3Dc%26d");
    }
}
