//! Whether an image was made for s6-overlay, and has herm's archive in the place of its own.

use std::path::Path;

use herm_sys::users::Users;

use crate::setup::LOG_USER;

/// What only s6-overlay looks for, in `/etc`: its services, those of its older versions, and both
/// for what a container is to be (`S6_RUNTIME_PROFILE`). Hooks don't count: herm's own images have
/// some, too.
const PLACES: [&str; 3] = ["s6-overlay", "services.d", "cont-profile.d"];

/// Whether the image whose `/etc` this is was made for s6-overlay: it has services in that one's
/// places, and no log daemon's user, whom every image that was made for herm has. So an image that
/// is built on herm's, and brings services in this format along, stays one of herm's.
pub(crate) fn is_drop_in(etc: &Path) -> bool {
    PLACES.iter().any(|place| etc.join(place).is_dir())
        && Users::load_from(etc).is_ok_and(|users| users.by_name(LOG_USER).is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_with_s6_overlays_services_is_one_unless_it_was_made_for_herm() {
        for place in PLACES {
            let etc = tempfile::tempdir().unwrap();
            assert!(!is_drop_in(etc.path()));
            std::fs::create_dir(etc.path().join("cont-init.d")).unwrap();
            assert!(!is_drop_in(etc.path()), "hooks alone");
            std::fs::create_dir(etc.path().join(place)).unwrap();
            assert!(is_drop_in(etc.path()), "{place}, and no users at all");
            let accounts = "root:x:0:0::/:/bin/sh\nhermes:x:10000:10000::/opt/data:/bin/sh\n";
            std::fs::write(etc.path().join("passwd"), accounts).unwrap();
            assert!(is_drop_in(etc.path()), "{place}");
            let ours = format!("{accounts}herm-log:x:990:990::/nonexistent:/bin/false\n");
            std::fs::write(etc.path().join("passwd"), ours).unwrap();
            assert!(
                !is_drop_in(etc.path()),
                "{place} on top of an image of herm's"
            );
        }
    }
}
