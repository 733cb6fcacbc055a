//! A service directory as its users see it: whether it is supervised, and what it does.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::SystemTime;

use herm_s6::status::Status;
use herm_s6::tai::Tain;
use herm_sys::record_lock;

/// Whether a supervisor holds the lock of this service directory. One without a lock file is not
/// supervised.
pub(crate) fn is_supervised(dir: &Path) -> io::Result<bool> {
    match File::open(dir.join("supervise/lock")) {
        Ok(lock) => Ok(record_lock::is_held(&lock)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// The status in this service directory; nothing if the file holds none.
pub(crate) fn read_status(dir: &Path) -> io::Result<Option<Status>> {
    std::fs::read(dir.join("supervise/status")).map(|bytes| Status::parse(&bytes))
}

/// This instant.
pub(crate) fn now() -> Tain {
    Tain::from_unix(
        SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default(),
    )
}
