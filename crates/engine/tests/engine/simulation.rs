//! Seeded worlds: see `herm_testkit::sim`.

/// Enough to meet most pairs of mishaps, few enough for every test run; `HERM_SIM_COUNT` for more.
const SEEDS: u64 = 2000;

#[test]
fn the_invariants_hold_in_every_seeded_world() {
    herm_testkit::sim::run_many(SEEDS);
}
