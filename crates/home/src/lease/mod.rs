//! Leases: of several instances of herm on one home, one runs its gateways (contract section 10,
//! L35).
//!
//! | file in the home's `.herm` | what it is |
//! | --- | --- |
//! | `instances/<id>` | the lease of one instance: kernel boot id, epoch, host, and a counter that is overwritten in place |
//! | `epochs/<n>` | names the instance that owns the gateways; the highest number counts |
//!
//! An instance takes over by creating the next epoch, which succeeds for one of them only
//! (`O_EXCL`). Before that it must know that the owner is gone: on a local file system of the same
//! kernel because nobody holds the lock on its lease any more, or because it was released;
//! elsewhere, and where a process is frozen, because the lease did not change for
//! [`Timing::silence`] by the observer's own clock. An owner that could not renew its lease for
//! [`Timing::fence`] counts itself out before that, and may only come back by another epoch.
//!
//! [`machine`] decides, and knows neither files nor clocks; [`store`] is the files.
//!
//! The home is writable by its agents, so a lease proves nothing about anybody's rights. One that
//! is forged, or an epoch that nobody holds, can keep gateways of this home from running, which its
//! agents can do in many other ways; nothing is ever done for it that its owner's uid may not do.

pub mod machine;
pub mod store;

pub use machine::{Holder, Look, Machine, Proof, Sighting, Standing, Step, Timing, Wrote};
pub use store::{Lease, Store, owner};
