//! Who is served by whose gateway (L09): a multiplexing gateway writes the profiles it serves into
//! its `served_profiles`, its own among them. Those have no process of their own and are not failed.

use std::collections::BTreeMap;

use crate::name::ProfileName;
use crate::state::AgentState;

/// For each profile without a running gateway of its own, the profile whose running gateway serves
/// it. `running` are the gateways the supervisor knows to run, with their state files; a file left
/// by a gateway that is down says nothing. Of two servers the first in order of names counts.
pub fn served_by(
    running: &BTreeMap<ProfileName, AgentState>,
) -> BTreeMap<ProfileName, ProfileName> {
    let mut served = BTreeMap::new();
    for (server, state) in running {
        for name in state
            .served_profiles()
            .filter_map(|name| ProfileName::from_input(name).ok())
        {
            if !running.contains_key(&name) {
                served.entry(name).or_insert_with(|| server.clone());
            }
        }
    }
    served
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ProfileName {
        ProfileName::parse(text).unwrap()
    }

    #[test]
    fn l09_a_profile_served_by_anothers_gateway_is_served_and_not_failed() {
        let default =
            AgentState::parse(br#"{"served_profiles":["default","a","b","../x",7]}"#).unwrap();
        let own = AgentState::parse(br#"{"gateway_state":"running"}"#).unwrap();
        let running = BTreeMap::from([(name("default"), default), (name("b"), own)]);
        // b runs its own gateway, and default is not "served" by itself.
        assert_eq!(
            served_by(&running),
            BTreeMap::from([(name("a"), name("default"))])
        );
    }

    #[test]
    fn l09_what_a_gateway_that_is_down_once_served_counts_for_nothing() {
        assert!(served_by(&BTreeMap::new()).is_empty());
    }
}
