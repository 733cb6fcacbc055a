//! How often one sender may be wrong.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Wrong attempts in a window after which none is looked at any more.
const ALLOWED: u32 = 10;
/// How long a wrong attempt counts.
const WINDOW: Duration = Duration::from_secs(60);
/// Senders remembered; beyond that the one that is oldest is forgotten.
const REMEMBERED: usize = 4096;

/// Wrong attempts by sender.
#[derive(Debug, Default)]
pub(crate) struct Limit {
    senders: Mutex<HashMap<IpAddr, (u32, Instant)>>,
}

impl Limit {
    /// Seconds until this sender may try again, where it may not now.
    pub(crate) fn wait(&self, from: IpAddr) -> Option<u64> {
        self.wait_at(from, Instant::now())
    }

    /// Counts a wrong attempt.
    pub(crate) fn failed(&self, from: IpAddr) {
        self.failed_at(from, Instant::now());
    }

    fn wait_at(&self, from: IpAddr, now: Instant) -> Option<u64> {
        let senders = self.senders.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, first) = senders.get(&group(from))?;
        let left = WINDOW
            .checked_sub(now.duration_since(*first))
            .filter(|left| !left.is_zero())?;
        (*count >= ALLOWED).then(|| left.as_secs() + 1)
    }

    fn failed_at(&self, from: IpAddr, now: Instant) {
        let mut senders = self.senders.lock().unwrap_or_else(PoisonError::into_inner);
        if senders.len() >= REMEMBERED {
            senders.retain(|_, (_, first)| now.duration_since(*first) < WINDOW);
        }
        if senders.len() >= REMEMBERED
            && let Some(oldest) = senders
                .iter()
                .min_by_key(|(_, (_, first))| *first)
                .map(|(sender, _)| *sender)
        {
            senders.remove(&oldest);
        }
        let entry = senders.entry(group(from)).or_insert((0, now));
        if now.duration_since(entry.1) >= WINDOW {
            *entry = (0, now);
        }
        entry.0 = entry.0.saturating_add(1);
    }
}

/// Whoever has one IPv6 address has 2^64 of them.
fn group(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_ten_wrong_attempts_a_sender_waits_and_others_do_not() {
        let limit = Limit::default();
        let (now, them) = (Instant::now(), IpAddr::from([192, 0, 2, 1]));
        for _ in 0..ALLOWED {
            assert_eq!(limit.wait_at(them, now), None);
            limit.failed_at(them, now);
        }
        assert!(
            limit
                .wait_at(them, now)
                .is_some_and(|seconds| seconds <= 61)
        );
        assert_eq!(limit.wait_at(IpAddr::from([192, 0, 2, 2]), now), None);
        assert_eq!(limit.wait_at(them, now + WINDOW), None);
    }

    #[test]
    fn a_network_of_ipv6_addresses_is_one_sender_and_memory_is_bounded() {
        let limit = Limit::default();
        let now = Instant::now();
        for host in 0..=ALLOWED {
            let address = format!("2001:db8:1:2::{host:x}").parse().unwrap();
            limit.failed_at(address, now);
        }
        assert!(
            limit
                .wait_at("2001:db8:1:2:ffff::1".parse().unwrap(), now)
                .is_some()
        );
        for number in 0..10_000_u32 {
            limit.failed_at(IpAddr::from(number.to_be_bytes()), now);
        }
        assert!(limit.senders.lock().unwrap().len() <= REMEMBERED);
    }
}
