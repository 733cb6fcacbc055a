//! Who may ask for what (contract section 5, authority).
//!
//! A peer's authority is that of the uid it had when it connected. The table is pure: it is given
//! the peer, the operation's class and what the operation is aimed at.

use herm_wire::{Kind, ServiceName};

/// The uid that stands for every uid a user namespace doesn't know; it is nobody's.
const OVERFLOW_UID: u32 = 65_534;

/// Who connected, as the kernel saw it then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// User id: the authority.
    pub(crate) uid: u32,
    /// Primary group id.
    pub(crate) gid: u32,
    /// Supplementary groups; a service it registers has no more than these.
    pub(crate) groups: Vec<u32>,
    /// Process id, for display only: it may name another process by now.
    pub(crate) pid: u32,
}

#[cfg(test)]
impl Peer {
    /// A peer that is only a uid.
    pub(crate) fn of_uid(uid: u32) -> Self {
        Self {
            uid,
            gid: uid,
            groups: Vec::new(),
            pid: 0,
        }
    }
}

/// The users with a say, besides a service's own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rulers {
    /// The uid PID 1 runs as.
    pub(crate) supervisor: u32,
    /// The service user's uid, where there is one.
    pub(crate) service_user: Option<u32>,
}

/// Classes of operations that need the same authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asks<'a> {
    /// Looks at what anyone may see.
    Look,
    /// Supervises a new service under this name.
    Add {
        /// The new name.
        name: &'a ServiceName,
        /// The new kind.
        kind: Kind,
        /// Whether it names a user other than the peer.
        names_user: bool,
    },
    /// Starts, stops or signals a service.
    Order(Target<'a>),
    /// Replaces or removes a service, or sees its environment.
    Control(Target<'a>),
    /// Does the keeper's part, or asks for it.
    Keep,
    /// Replaces or ends the supervisor.
    Rule,
}

/// The service an operation is aimed at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target<'a> {
    /// Its name.
    pub(crate) name: &'a ServiceName,
    /// Its kind.
    pub(crate) kind: Kind,
    /// The uid it runs as.
    pub(crate) runs_as: u32,
    /// The uid that registered it.
    pub(crate) registered_by: u32,
    /// Whether it is one of the image's own that the service user may give orders to.
    pub(crate) shared: bool,
}

/// The name of herm's own dashboard, the one helper the service user may control.
const DASHBOARD: &str = "dashboard";

/// Whether the peer may do it.
pub(crate) fn allows(peer: &Peer, rulers: Rulers, asks: Asks<'_>) -> bool {
    if asks == Asks::Look {
        return true;
    }
    if peer.uid == OVERFLOW_UID {
        return false;
    }
    if peer.uid == 0 || peer.uid == rulers.supervisor {
        return true;
    }
    if rulers.service_user != Some(peer.uid) {
        return false;
    }
    match asks {
        Asks::Look | Asks::Keep => true,
        Asks::Rule => false,
        Asks::Add {
            name,
            kind,
            names_user,
        } => !names_user && !name.is_reserved_to_root() && is_a_users_kind(kind),
        Asks::Order(target) if target.shared => !target.name.is_reserved_to_root(),
        Asks::Order(target) | Asks::Control(target) => {
            !target.name.is_reserved_to_root()
                && target.runs_as == peer.uid
                && (is_a_users_kind(target.kind)
                    || target.registered_by == peer.uid
                    || target.name.as_str() == DASHBOARD)
        }
    }
}

/// Whom a peer that may not do it has to be, for people: never who it is already.
pub(crate) fn who_else(peer: &Peer, rulers: Rulers, asks: Asks<'_>) -> String {
    let would_do = |uid: &u32| {
        let other = Peer {
            uid: *uid,
            ..peer.clone()
        };
        allows(&other, rulers, asks)
    };
    match rulers.service_user.filter(would_do) {
        Some(0) => "ask as root".to_owned(),
        Some(uid) => format!("ask as root or as the service user (uid {uid})"),
        None if rulers.supervisor == 0 => "ask as root".to_owned(),
        None => {
            let uid = rulers.supervisor;
            format!("ask as root or as uid {uid}, which runs the supervisor")
        }
    }
}

fn is_a_users_kind(kind: Kind) -> bool {
    match kind {
        Kind::Gateway | Kind::Service => true,
        Kind::Main | Kind::Helper => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULERS: Rulers = Rulers {
        supervisor: 0,
        service_user: Some(10_000),
    };

    fn name(text: &str) -> ServiceName {
        ServiceName::parse(text).unwrap()
    }

    fn controls(uid: u32, name: &ServiceName, kind: Kind, runs_as: u32) -> bool {
        let target = Target {
            name,
            kind,
            runs_as,
            registered_by: 0,
            shared: false,
        };
        allows(&Peer::of_uid(uid), RULERS, Asks::Control(target))
    }

    #[test]
    fn anyone_may_look_and_only_root_may_rule() {
        for uid in [0, 10_000, 1234, OVERFLOW_UID] {
            assert!(allows(&Peer::of_uid(uid), RULERS, Asks::Look));
            assert_eq!(allows(&Peer::of_uid(uid), RULERS, Asks::Rule), uid == 0);
        }
    }

    #[test]
    fn the_service_user_controls_its_services_and_nothing_of_roots() {
        assert!(controls(10_000, &name("gateway-a"), Kind::Gateway, 10_000));
        assert!(controls(10_000, &name("web"), Kind::Service, 10_000));
        assert!(controls(10_000, &name("dashboard"), Kind::Helper, 10_000));
        assert!(!controls(10_000, &name("web"), Kind::Service, 0));
        assert!(!controls(10_000, &name("logd"), Kind::Helper, 9999));
        assert!(!controls(10_000, &name("keeper"), Kind::Helper, 10_000));
        assert!(!controls(10_000, &name("main"), Kind::Main, 10_000));
        assert!(!controls(
            10_000,
            &name("s6rc-fdholder"),
            Kind::Service,
            10_000
        ));
        assert!(!controls(1234, &name("gateway-a"), Kind::Gateway, 1234));
    }

    #[test]
    fn the_service_user_gives_orders_to_the_images_own_services_and_no_more() {
        let asks = |name, shared| Target {
            name,
            kind: Kind::Service,
            runs_as: 0,
            registered_by: 0,
            shared,
        };
        let user = Peer::of_uid(10_000);
        let web = name("web");
        assert!(allows(&user, RULERS, Asks::Order(asks(&web, true))));
        assert!(!allows(&user, RULERS, Asks::Order(asks(&web, false))));
        assert!(!allows(&user, RULERS, Asks::Control(asks(&web, true))));
        let holder = name("s6rc-fdholder");
        assert!(!allows(&user, RULERS, Asks::Order(asks(&holder, true))));
        let stranger = Peer::of_uid(1234);
        assert!(!allows(&stranger, RULERS, Asks::Order(asks(&web, true))));
    }

    #[test]
    fn the_overflow_uid_is_nobody_even_where_it_owns_everything() {
        let rulers = Rulers {
            supervisor: OVERFLOW_UID,
            service_user: Some(OVERFLOW_UID),
        };
        let peer = Peer::of_uid(OVERFLOW_UID);
        for asks in [Asks::Keep, Asks::Rule] {
            assert!(!allows(&peer, rulers, asks));
        }
    }

    #[test]
    fn a_user_may_register_gateways_and_services_as_itself_only() {
        let gateway = name("gateway-a");
        let adds = |uid, name: &ServiceName, kind, names_user| {
            let asks = Asks::Add {
                name,
                kind,
                names_user,
            };
            allows(&Peer::of_uid(uid), RULERS, asks)
        };
        assert!(adds(10_000, &gateway, Kind::Gateway, false));
        assert!(!adds(10_000, &gateway, Kind::Gateway, true));
        assert!(!adds(10_000, &gateway, Kind::Helper, false));
        assert!(!adds(10_000, &name("s6rc-x"), Kind::Service, false));
        assert!(!adds(1234, &gateway, Kind::Gateway, false));
        assert!(adds(0, &gateway, Kind::Main, true));
    }

    #[test]
    fn whoever_runs_the_supervisor_rules_it() {
        let rulers = Rulers {
            supervisor: 1000,
            service_user: None,
        };
        assert!(allows(&Peer::of_uid(1000), rulers, Asks::Rule));
        assert!(!allows(&Peer::of_uid(1001), rulers, Asks::Keep));
    }
    #[test]
    fn who_is_refused_is_sent_to_somebody_who_may_and_never_to_itself() {
        let web = name("web");
        let of_user = Asks::Order(Target {
            name: &web,
            kind: Kind::Service,
            runs_as: 10_000,
            registered_by: 0,
            shared: false,
        });
        let of_root = Asks::Order(Target {
            name: &web,
            kind: Kind::Service,
            runs_as: 0,
            registered_by: 0,
            shared: false,
        });
        let hint = |uid, rulers, asks| who_else(&Peer::of_uid(uid), rulers, asks);
        let either = "ask as root or as the service user (uid 10000)";
        assert_eq!(hint(1234, RULERS, of_user), either);
        assert_eq!(hint(1234, RULERS, Asks::Keep), either);
        for uid in [1234, 10_000] {
            assert_eq!(hint(uid, RULERS, of_root), "ask as root");
            assert_eq!(hint(uid, RULERS, Asks::Rule), "ask as root");
        }
        let own = Rulers {
            supervisor: 1000,
            service_user: None,
        };
        let runs_it = "ask as root or as uid 1000, which runs the supervisor";
        assert_eq!(hint(1001, own, Asks::Keep), runs_it);
        assert_eq!(hint(1001, own, Asks::Rule), runs_it);
    }
}
