//! Telling whoever started the gateway that it is ready, or stopping.
//!
//! Two protocols, either or both: `sd_notify` datagrams to `NOTIFY_SOCKET` (systemd's
//! `sd_notify(3)`), and a newline on an inherited descriptor (s6's `notification-fd`).

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use crate::log;

/// Where readiness is reported.
#[derive(Debug, Default)]
pub(crate) struct Notifier {
    socket: Option<OsString>,
    descriptor: Option<u32>,
}

impl Notifier {
    /// `socket` is the value of `NOTIFY_SOCKET`; `descriptor` the number of an inherited pipe.
    pub(crate) fn new(socket: Option<OsString>, descriptor: Option<u32>) -> Self {
        Self {
            socket: socket.filter(|s| !s.is_empty()),
            descriptor,
        }
    }

    /// Says that requests are served.
    pub(crate) fn ready(&self) {
        self.datagram("READY=1");
        if let Some(descriptor) = self.descriptor
            && let Err(error) = write_newline(descriptor)
        {
            log::warn(format_args!(
                "readiness could not be reported on descriptor {descriptor}: {error}"
            ));
        }
    }

    /// Says that the gateway drains.
    pub(crate) fn stopping(&self) {
        self.datagram("STOPPING=1");
    }

    fn datagram(&self, message: &str) {
        let Some(socket) = &self.socket else { return };
        if let Err(error) = send(socket.as_bytes(), message) {
            log::warn(format_args!(
                "{message} could not be sent to NOTIFY_SOCKET: {error}"
            ));
        }
    }
}

/// A leading `@` names an abstract socket, as in `sd_notify(3)`.
fn send(address: &[u8], message: &str) -> io::Result<()> {
    let address = match address.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(address))?,
    };
    UnixDatagram::unbound()?.send_to_addr(message.as_bytes(), &address)?;
    Ok(())
}

/// Opens the pipe again through `/proc`, which needs no unsafe adoption of a descriptor number.
fn write_newline(descriptor: u32) -> io::Result<()> {
    OpenOptions::new()
        .write(true)
        .open(format!("/proc/self/fd/{descriptor}"))?
        .write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd as _;

    use super::*;

    #[test]
    fn readiness_is_a_datagram_and_a_newline() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let receiver = UnixDatagram::bind(&path).unwrap();
        let (mut reader, writer) = io::pipe().unwrap();
        let descriptor = u32::try_from(writer.as_raw_fd()).unwrap();

        let notifier = Notifier::new(Some(path.into_os_string()), Some(descriptor));
        notifier.ready();
        notifier.stopping();
        drop(writer);

        let mut buffer = [0; 64];
        let length = receiver.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"READY=1");
        let length = receiver.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"STOPPING=1");
        let mut written = Vec::new();
        io::Read::read_to_end(&mut reader, &mut written).unwrap();
        assert_eq!(written, b"\n");
    }

    #[test]
    fn a_vanished_listener_is_no_reason_to_fail() {
        Notifier::new(Some("/nonexistent/socket".into()), Some(u32::MAX)).ready();
    }
}
