//! `herm probe`: what PID 1 runs to find out whether a service serves. PID 1 itself never
//! connects to anything; this process is one it can kill.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::{Duration, Instant};

use crate::cli::{ProbeCommand, ProbeLimit};
use crate::failure::{Failure, Outcome, reason};

/// Longest status line that is read, in bytes.
const MAX_STATUS_LINE: u64 = 4096;

/// Succeeds if the service serves.
pub(super) fn run(command: &ProbeCommand) -> Outcome {
    match command {
        ProbeCommand::Tcp { address, limit } => connect(address, deadline(*limit)).map(drop),
        ProbeCommand::Http { url, limit } => http(url, deadline(*limit)),
    }
}

fn deadline(limit: ProbeLimit) -> Instant {
    Instant::now() + Duration::from_millis(limit.timeout_ms)
}

fn time_left(deadline: Instant) -> io::Result<Duration> {
    match deadline.checked_duration_since(Instant::now()) {
        Some(left) if !left.is_zero() => Ok(left),
        _ => Err(io::ErrorKind::TimedOut.into()),
    }
}

fn connect(address: &str, deadline: Instant) -> Outcome<TcpStream> {
    let failed = |error: &io::Error| {
        Failure::failed(format!("no connection to {address}: {}", reason(error)))
            .hint("look at the service's log: it may listen on another port, or not yet")
    };
    let candidates = address.to_socket_addrs().map_err(|error| failed(&error))?;
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for candidate in candidates {
        let attempt =
            time_left(deadline).and_then(|left| TcpStream::connect_timeout(&candidate, left));
        match attempt {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(failed(&last))
}

fn http(url: &str, deadline: Instant) -> Outcome {
    let (address, path) = split_url(url)?;
    let stream = connect(&address, deadline)?;
    let status = exchange(stream, &address, path, deadline).map_err(|error| {
        Failure::failed(format!("{url} does not answer: {}", reason(&error)))
            .hint("look at the service's log")
    })?;
    match status {
        200..=299 => Ok(()),
        code => {
            Err(Failure::failed(format!("{url} answers {code}")).hint("look at the service's log"))
        }
    }
}

/// `http://host[:port][/path]` as `host:port` and path.
fn split_url(url: &str) -> Outcome<(String, &str)> {
    let bad =
        || Failure::usage(format!("{url:?} can't be probed")).hint("use http://HOST:PORT/PATH");
    let rest = url.strip_prefix("http://").ok_or_else(bad)?;
    let (host, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    if host.is_empty() || host.contains('@') || !url.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(bad());
    }
    let has_port = host
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let address = if has_port {
        host.to_owned()
    } else {
        format!("{host}:80")
    };
    Ok((address, path))
}

/// One GET; the status code is all that is read of the answer.
fn exchange(mut stream: TcpStream, host: &str, path: &str, deadline: Instant) -> io::Result<u16> {
    stream.set_write_timeout(Some(time_left(deadline)?))?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: herm-probe\r\nAccept: */*\r\n\
         Connection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes())?;
    stream.set_read_timeout(Some(time_left(deadline)?))?;
    let mut line = String::new();
    BufReader::new(stream.take(MAX_STATUS_LINE)).read_line(&mut line)?;
    let code = line.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5));
    code.and_then(|code| code.parse().ok()).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "what answers there is no HTTP server",
        )
    })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    fn serve_once(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        thread::spawn(move || {
            let (mut peer, _) = listener.accept().unwrap();
            let mut request = [0; 512];
            assert!(peer.read(&mut request).unwrap() > 0);
            peer.write_all(answer.as_bytes()).unwrap();
        });
        address
    }

    fn probe(answer: &'static str) -> Outcome {
        let url = format!("http://{}/health", serve_once(answer));
        run(&ProbeCommand::Http {
            url,
            limit: ProbeLimit { timeout_ms: 30_000 },
        })
    }

    #[test]
    fn a_2xx_answer_serves_and_anything_else_does_not() {
        assert_eq!(probe("HTTP/1.1 200 OK\r\n\r\n"), Ok(()));
        assert_eq!(probe("HTTP/1.0 204 No Content\r\n\r\n"), Ok(()));
        assert!(
            probe("HTTP/1.1 503 Busy\r\n\r\n")
                .unwrap_err()
                .message
                .ends_with("answers 503")
        );
        assert!(probe("SSH-2.0-x\r\n").is_err());
        assert!(probe("").is_err());
    }

    #[test]
    fn nobody_listening_is_a_failure() {
        let closed = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let limit = ProbeLimit { timeout_ms: 30_000 };
        assert!(
            run(&ProbeCommand::Tcp {
                address: closed.to_string(),
                limit
            })
            .is_err()
        );
    }

    #[test]
    fn only_plain_urls_are_probed() {
        assert_eq!(split_url("http://a:1/x?y").unwrap(), ("a:1".into(), "/x?y"));
        assert_eq!(split_url("http://a").unwrap(), ("a:80".into(), "/"));
        assert_eq!(
            split_url("http://[::1]:9/").unwrap(),
            ("[::1]:9".into(), "/")
        );
        for bad in [
            "https://a/",
            "a:1",
            "http:///x",
            "http://u@a/",
            "http://a/\r\nX: y",
        ] {
            assert!(split_url(bad).is_err(), "{bad:?}");
        }
    }
}
