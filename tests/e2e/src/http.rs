//! HTTP inside a container, without a client in the image.

/// What an HTTP server answered.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The lines before the body, the first without.
    pub head: String,
    /// The body. One in chunks is joined.
    pub body: String,
}

impl Response {
    /// The body as JSON; fails the test if it is none.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body)
            .unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }

    /// A header's value; empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        let is_it = |line: &&str| {
            line.split_once(':')
                .is_some_and(|(header, _)| header.eq_ignore_ascii_case(name))
        };
        let line = self.head.lines().find(is_it);
        line.and_then(|line| line.split_once(':'))
            .map_or("", |(_, value)| value.trim())
    }

    /// Parses a whole HTTP/1.1 response; `None` if it is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (head, body) = text.split_once("\r\n\r\n")?;
        let (first, head) = head.split_once("\r\n").unwrap_or((head, ""));
        let status = first
            .strip_prefix("HTTP/1.")?
            .split(' ')
            .nth(1)?
            .parse()
            .ok()?;
        let chunked = head
            .lines()
            .any(|line| line.to_ascii_lowercase().replace(' ', "") == "transfer-encoding:chunked");
        let body = if chunked {
            join_chunks(body)?
        } else {
            body.to_owned()
        };
        Some(Self {
            status,
            head: head.to_owned(),
            body,
        })
    }
}

/// RFC 9112 section 7.1, without extensions and trailers.
fn join_chunks(mut rest: &str) -> Option<String> {
    let mut body = String::new();
    loop {
        let (size, after) = rest.split_once("\r\n")?;
        let size = usize::from_str_radix(size.trim(), 16).ok()?;
        if size == 0 {
            return Some(body);
        }
        body.push_str(after.get(..size)?);
        rest = after.get(size..)?.strip_prefix("\r\n")?;
    }
}

/// The request, as one whole message that asks the server to close the connection after it.
pub(crate) fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> String {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    for (name, value) in headers {
        text.extend([name, ": ", value, "\r\n"]);
    }
    if !body.is_empty() {
        text.extend(["Content-Length: ", &body.len().to_string(), "\r\n"]);
    }
    text.push_str("\r\n");
    text.push_str(body);
    text
}

/// Bash, with the port as its argument: sends its input to the port and prints the answer.
pub(crate) const CLIENT: &str = r#"exec 3<>"/dev/tcp/127.0.0.1/$1" && cat >&3 && exec cat <&3"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_has_a_status_and_a_body() {
        let response = Response::parse("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").unwrap();
        assert_eq!((response.status, response.body.as_str()), (200, "{}"));
        assert_eq!(response.header("content-length"), "2");
        assert_eq!(response.header("date"), "");
    }

    #[test]
    fn chunks_are_joined() {
        let text =
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
        assert_eq!(Response::parse(text).unwrap().body, "abcde");
    }

    #[test]
    fn what_is_cut_short_or_no_http_is_no_response() {
        assert!(Response::parse("").is_none());
        assert!(Response::parse("SSH-2.0\r\n\r\n").is_none());
        assert!(
            Response::parse("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc")
                .is_none()
        );
    }
}
