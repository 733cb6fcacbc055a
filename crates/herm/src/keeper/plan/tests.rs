//! The plan against a model of PID 1 that does what it is told.

use herm_wire::{LastExit, LogSpec, ReadinessSpec, RestartSpec, StopSpec};
use proptest::prelude::*;

use super::*;

fn spec(name: &ProfileName) -> ServiceSpec {
    ServiceSpec {
        name: name.service(),
        kind: Kind::Gateway,
        profile: Some(name.to_string()),
        argv: vec!["hermes".into()],
        env: BTreeMap::new(),
        unset_env: Vec::new(),
        cwd: None,
        user: None,
        oneshot: false,
        requires: Vec::new(),
        after: Vec::new(),
        readiness: ReadinessSpec::None,
        health: None,
        restart: RestartSpec::default(),
        stop: StopSpec::default(),
        finish: None,
        log: LogSpec::default(),
        port: Some(9200),
        initial: Want::Down,
        disabled: None,
    }
}

fn profile(name: &str, intent: Option<Desired>) -> Profile {
    let name = ProfileName::parse(name).unwrap();
    Profile {
        spec: spec(&name),
        name,
        intent,
        mirrored: intent,
        starts_by_itself: true,
        clash: None,
        holds_claims: false,
        served_by: None,
        foreign: None,
        elsewhere: false,
        owner: None,
        inputs: Inputs::from_text("a"),
        inputs_written: "t0".into(),
    }
}

fn view(name: &str, desired: Want) -> ServiceView {
    ServiceView {
        requires: Vec::new(),
        after: Vec::new(),
        name: name.into(),
        profile: name.strip_prefix("gateway-").map(Into::into),
        kind: Kind::Gateway,
        desired,
        state: if desired == Want::Up {
            State::Running
        } else {
            State::Down
        },
        reason: String::new(),
        next: None,
        pid: (desired == Want::Up).then_some(7),
        since: "t0".into(),
        uptime_s: 0.0,
        restarts: 0,
        last_exit: None,
        ready: true,
        health: None,
        port: None,
        served_by: None,
        owner: None,
        memory_bytes: None,
        cpu_percent: None,
        log_dir: None,
        log_dropped_lines: 0,
        uid: None,
        survivors: Vec::new(),
    }
}

/// PID 1 as far as the plan can tell, and the keeper's memory.
#[derive(Default)]
struct World {
    services: BTreeMap<String, ServiceView>,
    memory: Memory,
}

impl World {
    fn carry_out(&mut self, actions: &[Action]) {
        for action in actions {
            self.memory.done(action);
            match action {
                Action::Register(spec) => {
                    let fresh = view(&spec.name, spec.initial);
                    self.services.entry(spec.name.clone()).or_insert(fresh);
                }
                Action::Unregister(name) => {
                    self.services.remove(name);
                    self.memory.gone(name);
                }
                Action::Start(name) => {
                    self.services.insert(name.clone(), view(name, Want::Up));
                }
                Action::Stop(name) => {
                    self.services.insert(name.clone(), view(name, Want::Down));
                }
                Action::Annotate(..)
                | Action::NoteParked(..)
                | Action::Wake(..)
                | Action::Mirror(..) => {}
            }
        }
    }

    fn settle(&mut self, profiles: &[Profile]) -> Vec<Action> {
        let actions = plan(profiles, &self.services, &self.memory);
        self.carry_out(&actions);
        actions
    }

    fn wants(&self, name: &str) -> Option<Want> {
        self.services.get(name).map(|service| service.desired)
    }
}

#[test]
fn l01_only_the_record_decides_what_runs_not_what_the_agent_wrote_when_it_died() {
    let mut world = World::default();
    let mut writer = profile("writer", Some(Desired::Running));
    writer.mirrored = Some(Desired::Stopped);
    let actions = world.settle(std::slice::from_ref(&writer));
    assert_eq!(world.wants("gateway-writer"), Some(Want::Up));
    assert!(
        actions.contains(&Action::Mirror(writer.name, Desired::Running)),
        "{actions:?}"
    );
}

#[test]
fn l04_a_profile_that_appears_is_registered_down_and_one_that_vanishes_is_unregistered() {
    let mut world = World::default();
    world.settle(&[profile("default", None)]);
    world.settle(&[profile("default", None), profile("new", None)]);
    assert_eq!(world.wants("gateway-new"), Some(Want::Down));
    world.settle(&[profile("default", None)]);
    assert_eq!(world.wants("gateway-new"), None);
}

#[test]
fn l07_what_an_operator_stopped_stays_down_whoever_starts_it() {
    let mut world = World::default();
    let stopped = [profile("writer", Some(Desired::Stopped))];
    world.settle(&stopped);
    world
        .services
        .insert("gateway-writer".into(), view("gateway-writer", Want::Up));
    world.settle(&stopped);
    assert_eq!(world.wants("gateway-writer"), Some(Want::Down));
}

#[test]
fn l09_a_served_profile_is_not_started_and_told_as_served() {
    let mut world = World::default();
    let mut writer = profile("writer", Some(Desired::Running));
    writer.served_by = Some(ProfileName::default_profile());
    let actions = world.settle(&[writer]);
    assert_eq!(world.wants("gateway-writer"), Some(Want::Down));
    let told = actions.iter().any(|action| matches!(action, Action::Annotate(_, a) if a.served_by.as_deref() == Some("default")));
    assert!(told, "{actions:?}");
}

#[test]
fn l12_a_gateway_that_runs_elsewhere_is_reported_and_not_fought_with() {
    let mut world = World::default();
    let mut writer = profile("writer", Some(Desired::Running));
    world.settle(std::slice::from_ref(&writer));
    let looping = world.services.get_mut("gateway-writer").unwrap();
    looping.pid = None;
    looping.state = State::Backoff;
    writer.foreign = Some("runs outside supervision as pid 9".into());
    let actions = world.settle(std::slice::from_ref(&writer));
    assert!(
        actions.contains(&Action::Stop("gateway-writer".into())),
        "{actions:?}"
    );
    writer.foreign = None;
    world.settle(&[writer]);
    assert_eq!(
        world.wants("gateway-writer"),
        Some(Want::Up),
        "the other one ended"
    );
}

#[test]
fn a_gateway_that_was_stopped_before_the_boot_is_told_as_stopped() {
    let writer = profile("writer", Some(Desired::Stopped));
    let mut down = view("gateway-writer", Want::Down);
    let note = |down: &ServiceView| writer.annotation(Some(down)).note;
    down.reason = "stopped by an operator".into();
    assert_eq!(note(&down), None);
    down.reason = "not started yet".into();
    assert!(note(&down).unwrap().contains("stopped by an operator"));
}

#[test]
fn l14_a_clash_keeps_a_gateway_down_names_the_holder_and_stops_nobody_who_runs() {
    let mut world = World::default();
    let mut writer = profile("writer", Some(Desired::Running));
    writer.clash = Some("port 8642 is held by coder".into());
    let actions = world.settle(std::slice::from_ref(&writer));
    assert_eq!(world.wants("gateway-writer"), Some(Want::Down));
    let named = actions.iter().any(|action| matches!(action, Action::Annotate(_, a) if a.note.as_deref() == Some("port 8642 is held by coder")));
    assert!(named, "{actions:?}");

    writer.clash = None;
    world.settle(std::slice::from_ref(&writer));
    assert_eq!(
        world.wants("gateway-writer"),
        Some(Want::Up),
        "the holder let go"
    );
    writer.clash = Some("its files now name the port of coder".into());
    writer.holds_claims = true;
    world.settle(&[writer]);
    assert_eq!(
        world.wants("gateway-writer"),
        Some(Want::Up),
        "it runs with what it holds"
    );
}

fn parked(exit_at: &str) -> ServiceView {
    let mut service = view("gateway-writer", Want::Up);
    service.pid = None;
    service.state = State::Parked;
    service.last_exit = Some(LastExit {
        code: Some(78),
        signal: None,
        at: exit_at.into(),
        after_s: 0.1,
    });
    service
}

#[test]
fn l78_a_parked_gateway_wakes_on_another_content_and_not_on_the_same_rewritten() {
    let mut world = World::default();
    let mut writer = profile("writer", Some(Desired::Running));
    world.settle(std::slice::from_ref(&writer));
    world.services.insert("gateway-writer".into(), parked("t1"));
    let actions = world.settle(std::slice::from_ref(&writer));
    assert!(
        matches!(&actions[..], [Action::NoteParked(..)]),
        "{actions:?}"
    );
    assert_eq!(
        world.settle(std::slice::from_ref(&writer)),
        [],
        "the same content"
    );
    writer.inputs = Inputs::from_text("b");
    let actions = world.settle(std::slice::from_ref(&writer));
    assert!(matches!(&actions[..], [Action::Wake(..)]), "{actions:?}");
    assert_eq!(
        world.settle(std::slice::from_ref(&writer)),
        [],
        "woken once"
    );
    world.services.insert("gateway-writer".into(), parked("t2"));
    let actions = world.settle(&[writer]);
    assert!(
        matches!(&actions[..], [Action::NoteParked(..)]),
        "failed again with b: {actions:?}"
    );
}

#[test]
fn l10_inputs_corrected_before_the_keeper_looked_wake_too() {
    let mut world = World::default();
    let mut writer = profile("writer", Some(Desired::Running));
    world.settle(std::slice::from_ref(&writer));
    world.services.insert("gateway-writer".into(), parked("t1"));
    writer.inputs = Inputs::from_text("b");
    writer.inputs_written = "t2".into();
    let actions = world.settle(&[writer]);
    assert!(matches!(&actions[..], [Action::Wake(..)]), "{actions:?}");
}

#[test]
fn another_launch_is_published_without_touching_what_runs() {
    let mut world = World::default();
    let mut writer = profile("writer", Some(Desired::Running));
    world.settle(std::slice::from_ref(&writer));
    writer.spec.argv.push("--more".into());
    let actions = world.settle(&[writer]);
    assert!(matches!(&actions[..], [Action::Register(_)]), "{actions:?}");
}

#[test]
fn a_profile_made_again_while_the_old_one_leaves_is_registered_when_it_has_gone() {
    let mut world = World::default();
    let writer = profile("writer", None);
    world.settle(std::slice::from_ref(&writer));
    world
        .memory
        .done(&Action::Unregister("gateway-writer".into()));
    assert_eq!(
        plan(
            std::slice::from_ref(&writer),
            &world.services,
            &world.memory
        ),
        []
    );
    world.services.remove("gateway-writer");
    world.memory.gone("gateway-writer");
    let actions = plan(&[writer], &world.services, &world.memory);
    assert!(
        matches!(actions.first(), Some(Action::Register(_))),
        "{actions:?}"
    );
}

#[test]
fn multiplexed_profiles_do_not_start_by_themselves_and_are_left_running_if_ordered() {
    let mut world = World::default();
    let mut writer = profile("writer", Some(Desired::Running));
    writer.starts_by_itself = false;
    world.settle(std::slice::from_ref(&writer));
    assert_eq!(world.wants("gateway-writer"), Some(Want::Down));
    world
        .services
        .insert("gateway-writer".into(), view("gateway-writer", Want::Up));
    world.settle(&[writer]);
    assert_eq!(world.wants("gateway-writer"), Some(Want::Up));
}

prop_compose! {
    fn any_profile(name: &'static str)(
        intent in prop::option::of(prop_oneof![Just(Desired::Running), Just(Desired::Stopped)]),
        mirrored in prop::option::of(prop_oneof![Just(Desired::Running), Just(Desired::Stopped)]),
        starts_by_itself: bool,
        clash: bool,
        holds_claims: bool,
        served: bool,
        foreign: bool,
        inputs in "[ab]",
    ) -> Profile {
        let mut made = profile(name, intent);
        made.mirrored = mirrored;
        made.starts_by_itself = starts_by_itself;
        made.clash = clash.then(|| "clash".to_owned());
        made.holds_claims = holds_claims;
        made.served_by = served.then(ProfileName::default_profile);
        made.foreign = foreign.then(|| "foreign".to_owned());
        made.inputs = Inputs::from_text(inputs);
        made
    }
}

fn any_service(name: &'static str) -> impl Strategy<Value = Option<ServiceView>> {
    let state = prop_oneof![
        Just(State::Down),
        Just(State::Running),
        Just(State::Backoff),
        Just(State::Parked),
        Just(State::Starting),
        Just(State::Stopping),
        Just(State::Failed),
    ];
    prop::option::of(
        (any::<bool>(), state, any::<bool>()).prop_map(move |(up, state, runs)| {
            let mut service = view(name, if up { Want::Up } else { Want::Down });
            service.state = state;
            service.pid = runs.then_some(9);
            service
        }),
    )
}

proptest! {
    /// From any state of the world the plan leads, in one step, to one that needs no second; and
    /// there every gateway is wanted exactly as its record says, unless something is in the way.
    #[test]
    fn one_pass_is_enough_and_leaves_what_the_records_say(
        a in any_profile("a"), b in any_profile("b"), exists_b: bool,
        on_a in any_service("gateway-a"), on_b in any_service("gateway-b"), on_c in any_service("gateway-c"),
    ) {
        let mut world = World::default();
        world.services.extend([on_a, on_b, on_c].into_iter().flatten().map(|s| (s.name.clone(), s)));
        let mut profiles = vec![a];
        profiles.extend(exists_b.then_some(b));
        world.settle(&profiles);
        for profile in &mut profiles {
            profile.mirrored = profile.intent.or(profile.mirrored);
        }
        prop_assert_eq!(plan(&profiles, &world.services, &world.memory), vec![]);
        prop_assert_eq!(world.services.len(), profiles.len());
        for profile in &profiles {
            let wants = world.wants(&profile.name.service());
            match profile.intent {
                Some(Desired::Stopped) => prop_assert_eq!(wants, Some(Want::Down)),
                Some(Desired::Running) if profile.may_run() => prop_assert_eq!(wants, Some(Want::Up)),
                Some(Desired::Running) | None => prop_assert!(wants.is_some()),
            }
        }
    }

    /// A profile without an order is never started nor stopped, except for a clash or a foreigner.
    #[test]
    fn l76_nobody_starts_or_stops_what_nobody_ordered(
        mut a in any_profile("a"), on_a in any_service("gateway-a"),
    ) {
        a.intent = None;
        a.clash = None;
        a.foreign = None;
        let services: BTreeMap<_, _> = on_a.into_iter().map(|s| (s.name.clone(), s)).collect();
        for action in plan(&[a], &services, &Memory::default()) {
            let started = matches!(&action, Action::Register(spec) if spec.initial == Want::Up);
            prop_assert!(!started && !matches!(action, Action::Start(_) | Action::Stop(_)), "{action:?}");
        }
    }

    /// L75: whatever the agent wrote over the mirror, it is put right and the record is not touched.
    #[test]
    fn l75_a_lost_mirror_is_written_again(mut a in any_profile("a")) {
        a.intent = Some(Desired::Running);
        a.mirrored = None;
        let actions = plan(std::slice::from_ref(&a), &BTreeMap::new(), &Memory::default());
        prop_assert!(actions.contains(&Action::Mirror(a.name, Desired::Running)));
    }
}

#[test]
fn l35_what_another_instance_runs_is_registered_switched_off_and_named() {
    let mut world = World::default();
    let mut remote = profile("a", Some(Desired::Running));
    remote.elsewhere = true;
    remote.owner = Some("i7".into());
    remote.spec.disabled = Some("run by instance i7".into());
    remote.mirrored = None;
    remote.clash = Some("a clash".into());
    let actions = world.settle(std::slice::from_ref(&remote));
    assert_eq!(actions.len(), 2, "{actions:?}");
    assert!(
        matches!(&actions[0], Action::Register(spec) if spec.initial == Want::Down && spec.disabled.is_some())
    );
    let Action::Annotate(_, annotation) = &actions[1] else {
        panic!("{actions:?}")
    };
    assert_eq!(annotation.owner.as_deref(), Some("i7"));
    assert_eq!(
        annotation.note, None,
        "what is in its way is the owner's to say"
    );
    assert_eq!(world.settle(&[remote]), []);
}

#[test]
fn l35_what_this_instance_takes_over_is_registered_anew_and_started() {
    let mut world = World::default();
    let mine = profile("a", Some(Desired::Running));
    let mut remote = mine.clone();
    remote.elsewhere = true;
    remote.owner = Some("i7".into());
    remote.spec.disabled = Some("run by instance i7".into());
    world.settle(&[remote]);
    if let Some(view) = world.services.get_mut("gateway-a") {
        view.state = State::Remote;
    }
    let actions = world.settle(&[mine]);
    let [Action::Register(spec), Action::Annotate(_, annotation)] = &actions[..] else {
        panic!("{actions:?}")
    };
    assert!(spec.initial == Want::Up && spec.disabled.is_none());
    assert_eq!(annotation.owner, None);
}
