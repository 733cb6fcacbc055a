//! What the s6 family's supervisors and their tools leave for each other in a service directory.

use herm_s6::control::{LETTERS, Order, SCAN_LETTERS, ScanOrder};
use herm_s6::service_directory::{DEATHS_MAX, Definition, Source};
use herm_s6::status::{Ended, Status};
use herm_s6::tai::Tain;
use herm_s6::{death_tally, event};

use crate::parts;

/// A directory in which every file has one of these contents.
struct Files<'a>([&'a [u8]; 4]);

impl Source for Files<'_> {
    fn content(&mut self, name: &'static str) -> Option<Vec<u8>> {
        let content = self.0[name.len() % self.0.len()];
        (!content.is_empty()).then(|| content.to_vec())
    }
    fn signal(&self, name: &str) -> Option<u8> {
        herm_sys::Signal::parse(name).map(herm_sys::Signal::number)
    }
}

/// The files of a service directory, parted by null characters: whatever is in them, what comes
/// out can be used, and what is named as senseless counts as absent.
pub fn definition(data: &[u8]) {
    let mut bad = Vec::new();
    let definition = Definition::read(&mut Files(parts(data)), &mut bad);
    assert_ne!(definition.notification_fd, Some(0));
    assert_ne!(definition.lock_fd, Some(0));
    assert!(definition.deaths <= DEATHS_MAX);
    assert!((1..=herm_sys::Signal::MAX).contains(&definition.down_signal));
    let default = Definition::default();
    if bad.contains(&"down-signal") {
        assert_eq!(definition.down_signal, default.down_signal);
    }
    if bad.contains(&"timeout-finish") {
        assert_eq!(definition.timeout_finish, default.timeout_finish);
    }
}

/// A status file: what is read is written as the same, but for bits that mean nothing.
pub fn status(data: &[u8]) {
    let Some(status) = Status::parse(data) else {
        return;
    };
    assert!(data.len() >= Status::SIZE);
    let written = status.to_bytes();
    assert_eq!(Status::parse(&written), Some(status));
    assert!(!(status.is_up() && status.never_started()));
    assert_eq!(&written[..24], &data[..24]);
}

/// A tally of deaths, a label, a listener's name, orders.
pub fn marks(data: &[u8]) {
    let mut tally = data.to_vec();
    death_tally::push(&mut tally, Tain::default(), Ended::Exited(1), 3);
    assert!(tally.len() <= 3 * death_tally::RECORD);
    assert_eq!(
        death_tally::read(&tally).last(),
        Some((Tain::default(), Ended::Exited(1)))
    );
    if let Some(stamp) = Tain::from_label(data) {
        assert!(stamp.label().eq_ignore_ascii_case(data));
    }
    assert!(!event::is_listener(data) || data.len() == event::LISTENER_NAME);
    for letter in data {
        assert_eq!(
            Order::from_letter(*letter).is_some(),
            LETTERS.contains(letter)
        );
        let scan = ScanOrder::from_letter(*letter);
        assert_eq!(scan.is_some(), SCAN_LETTERS.contains(letter));
    }
}
