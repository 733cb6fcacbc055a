//! What a boot makes of a profile: started, or registered and left down (contract section 2).
//!
//! Pure. Only an operator's order counts; what a gateway wrote while it died does not (L01), but
//! the sub-states of running do (L02), because a gateway killed in them must come back.

use crate::intent::Desired;

/// The agent's words for a gateway that was up: the last two are sub-states of running.
const WAS_UP: [&str; 3] = ["running", "draining", "degraded"];

/// What one file of a profile had to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found<T> {
    /// There was no file.
    Absent,
    /// There was one nobody can read; it has been set aside.
    Corrupt,
    /// This is what it says.
    Good(T),
}

/// The fields of the agent's state file that matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AgentWords<'a> {
    /// `desired_state`, which newer agents' tools write.
    pub desired: Option<&'a str>,
    /// `gateway_state`.
    pub gateway: Option<&'a str>,
}

/// What is known about one profile at boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evidence<'a> {
    /// Whether this is the root profile.
    pub is_default: bool,
    /// The record of intent.
    pub record: Found<Desired>,
    /// The agent's state file.
    pub agent: Found<AgentWords<'a>>,
}

/// What is known about the boot as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BootFacts<'a> {
    /// CMD is `gateway run` (and not `--no-supervise`).
    pub cmd_is_gateway_run: bool,
    /// `HERMES_GATEWAY_BOOTSTRAP_STATE`, if set.
    pub bootstrap: Option<&'a str>,
    /// Nobody has ever used this home .
    pub fresh_home: bool,
    /// One gateway serves all profiles (`GATEWAY_MULTIPLEX_PROFILES`).
    pub multiplex: bool,
}

/// What to do with a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Its gateway is started.
    Started,
    /// Its gateway is registered and stays down.
    Registered,
    /// It can't be used.
    Skipped,
}

impl Action {
    /// The word in the boot log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Registered => "registered",
            Self::Skipped => "skipped",
        }
    }
}

/// The decision for one profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision<'a> {
    /// What happens now.
    pub action: Action,
    /// What decided, in the words of the file it came from.
    pub prior_state: Option<&'a str>,
    /// What is wanted of the gateway.
    pub desired: Desired,
    /// Whether to record that now, because it was inferred.
    pub make_record: bool,
}

/// Decides.
pub fn decide<'a>(evidence: &Evidence<'a>, boot: &BootFacts<'_>) -> Decision<'a> {
    let (desired, prior_state, make_record) = wanted(evidence, boot);
    let own_gateway = evidence.is_default || !boot.multiplex;
    let action = if desired == Desired::Running && own_gateway {
        Action::Started
    } else {
        Action::Registered
    };
    Decision {
        action,
        prior_state,
        desired,
        make_record,
    }
}

fn wanted<'a>(evidence: &Evidence<'a>, boot: &BootFacts<'_>) -> (Desired, Option<&'a str>, bool) {
    if let Found::Good(desired) = evidence.record {
        return (desired, Some(desired.as_str()), false);
    }
    let word = match evidence.agent {
        Found::Good(words) => words.desired.or(words.gateway),
        Found::Absent | Found::Corrupt => None,
    };
    match word {
        Some(word) if WAS_UP.contains(&word) => (Desired::Running, Some(word), true),
        Some(word) => (Desired::Stopped, Some(word), false),
        None if starts_without_state(evidence, boot) => (Desired::Running, Some("running"), true),
        None => (Desired::Stopped, None, false),
    }
}

/// L03: the containers of before ran `gateway run` and had no state file. A corrupt file is not
/// that: somebody was here, and what they wanted is unknown.
fn starts_without_state(evidence: &Evidence<'_>, boot: &BootFacts<'_>) -> bool {
    let nothing = evidence.record == Found::Absent && evidence.agent == Found::Absent;
    let seeded = boot.fresh_home
        && boot
            .bootstrap
            .is_some_and(|state| state.trim() == "running");
    evidence.is_default && nothing && (boot.cmd_is_gateway_run || seeded)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Evidence<'static> = Evidence {
        is_default: false,
        record: Found::Absent,
        agent: Found::Absent,
    };

    fn agent(desired: Option<&'static str>, gateway: Option<&'static str>) -> Evidence<'static> {
        Evidence {
            agent: Found::Good(AgentWords { desired, gateway }),
            ..NOTHING
        }
    }

    fn outcome(evidence: &Evidence<'_>) -> (Action, Desired, bool) {
        let decision = decide(evidence, &BootFacts::default());
        (decision.action, decision.desired, decision.make_record)
    }

    const UP: (Action, Desired) = (Action::Started, Desired::Running);
    const DOWN: (Action, Desired) = (Action::Registered, Desired::Stopped);

    #[test]
    fn l01_what_a_gateway_wrote_while_its_container_stopped_is_no_order() {
        let evidence = Evidence {
            record: Found::Good(Desired::Running),
            ..agent(None, Some("stopped"))
        };
        let decision = decide(&evidence, &BootFacts::default());
        assert_eq!(
            (decision.action, decision.prior_state),
            (Action::Started, Some("running"))
        );
        assert!(!decision.make_record);
    }

    #[test]
    fn l01_an_operators_stop_holds_whatever_the_agent_says() {
        let evidence = Evidence {
            record: Found::Good(Desired::Stopped),
            ..agent(Some("running"), Some("running"))
        };
        let decision = decide(&evidence, &BootFacts::default());
        assert_eq!(
            (decision.action, decision.prior_state),
            (Action::Registered, Some("stopped"))
        );
    }

    #[test]
    fn l02_the_sub_states_of_running_restore_as_running_and_are_recorded() {
        for word in ["running", "draining", "degraded"] {
            assert_eq!(
                outcome(&agent(None, Some(word))),
                (UP.0, UP.1, true),
                "{word}"
            );
            assert_eq!(
                outcome(&agent(Some(word), Some("stopped"))),
                (UP.0, UP.1, true),
                "{word}"
            );
        }
        assert_eq!(
            decide(&agent(None, Some("draining")), &BootFacts::default()).prior_state,
            Some("draining")
        );
    }

    #[test]
    fn a_gateway_that_never_came_up_stays_down_and_nothing_is_recorded() {
        for word in [
            "starting",
            "startup_failed",
            "stopped",
            "",
            "RUNNING",
            "something new",
        ] {
            assert_eq!(
                outcome(&agent(None, Some(word))),
                (DOWN.0, DOWN.1, false),
                "{word}"
            );
        }
        assert_eq!(
            outcome(&agent(Some("stopped"), Some("running"))),
            (DOWN.0, DOWN.1, false)
        );
        assert_eq!(outcome(&agent(None, None)), (DOWN.0, DOWN.1, false));
        assert_eq!(outcome(&NOTHING), (DOWN.0, DOWN.1, false));
    }

    #[test]
    fn l03_cmd_gateway_run_on_a_home_without_state_means_running_for_the_root_profile() {
        let boot = BootFacts {
            cmd_is_gateway_run: true,
            ..BootFacts::default()
        };
        let default = Evidence {
            is_default: true,
            ..NOTHING
        };
        let decision = decide(&default, &boot);
        assert_eq!(
            (decision.action, decision.make_record),
            (Action::Started, true)
        );
        assert_eq!(
            decide(&NOTHING, &boot).action,
            Action::Registered,
            "a named profile"
        );
        let failed = Evidence {
            is_default: true,
            ..agent(None, Some("startup_failed"))
        };
        assert_eq!(
            decide(&failed, &boot).action,
            Action::Registered,
            "a state says otherwise"
        );
        let stopped = Evidence {
            record: Found::Good(Desired::Stopped),
            ..default
        };
        assert_eq!(
            decide(&stopped, &boot).action,
            Action::Registered,
            "an order says otherwise"
        );
    }

    #[test]
    fn the_bootstrap_variable_seeds_a_fresh_home_only() {
        let default = Evidence {
            is_default: true,
            ..NOTHING
        };
        let fresh = BootFacts {
            bootstrap: Some("running"),
            fresh_home: true,
            ..BootFacts::default()
        };
        assert_eq!(decide(&default, &fresh).action, Action::Started);
        let used = BootFacts {
            fresh_home: false,
            ..fresh
        };
        assert_eq!(decide(&default, &used).action, Action::Registered);
        let stopped = BootFacts {
            bootstrap: Some("stopped"),
            ..fresh
        };
        assert_eq!(decide(&default, &stopped).action, Action::Registered);
    }

    #[test]
    fn l05_a_corrupt_file_counts_as_absent_and_the_profile_is_registered_down() {
        let boot = BootFacts {
            cmd_is_gateway_run: true,
            ..BootFacts::default()
        };
        for (record, agent) in [
            (Found::Corrupt, Found::Absent),
            (Found::Absent, Found::Corrupt),
        ] {
            let decision = decide(
                &Evidence {
                    is_default: true,
                    record,
                    agent,
                },
                &boot,
            );
            assert_eq!(
                (decision.action, decision.prior_state),
                (Action::Registered, None)
            );
        }
        let mirrored = Evidence {
            record: Found::Corrupt,
            ..agent(Some("running"), None)
        };
        assert_eq!(
            outcome(&mirrored),
            (UP.0, UP.1, true),
            "the mirror still knows"
        );
    }

    #[test]
    fn with_one_gateway_for_all_only_the_root_profiles_starts_and_the_wish_is_kept() {
        let boot = BootFacts {
            multiplex: true,
            ..BootFacts::default()
        };
        let named = Evidence {
            record: Found::Good(Desired::Running),
            ..NOTHING
        };
        let decision = decide(&named, &boot);
        assert_eq!(
            (decision.action, decision.desired),
            (Action::Registered, Desired::Running)
        );
        assert_eq!(
            decide(
                &Evidence {
                    is_default: true,
                    ..named
                },
                &boot
            )
            .action,
            Action::Started
        );
    }

    #[test]
    fn l76_an_agent_that_writes_stopped_at_every_term_comes_back_by_its_record() {
        // 0.15.2 knows no desired_state; the order that started it was recorded.
        let evidence = Evidence {
            record: Found::Good(Desired::Running),
            ..agent(None, Some("stopped"))
        };
        assert_eq!(outcome(&evidence), (UP.0, UP.1, false));
    }
}
