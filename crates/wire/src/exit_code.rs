//! Exit codes of every herm command (contract section 4).

use crate::reply::ErrorCode;

/// What a herm command's exit status means. The numbers are part of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// Done as asked.
    Done = 0,
    /// Tried and failed.
    Failed = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// The service asked about is not running.
    NotRunning = 3,
    /// There is no such profile or service.
    NotFound = 4,
    /// The caller may not do this.
    NotPermitted = 5,
    /// Bad configuration (`EX_CONFIG` of sysexits.h).
    BadConfig = 78,
    /// The time allowed ran out (as timeout(1)).
    TimedOut = 124,
}

impl From<ErrorCode> for ExitCode {
    fn from(code: ErrorCode) -> Self {
        match code {
            ErrorCode::BadRequest => Self::Usage,
            ErrorCode::NotFound => Self::NotFound,
            ErrorCode::NotPermitted => Self::NotPermitted,
            ErrorCode::BadConfig => Self::BadConfig,
            ErrorCode::TimedOut => Self::TimedOut,
            ErrorCode::Failed
            | ErrorCode::Superseded
            | ErrorCode::Clash
            | ErrorCode::NoCapacity
            | ErrorCode::ShuttingDown
            | ErrorCode::Internal => Self::Failed,
        }
    }
}
