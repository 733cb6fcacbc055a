//! A user who stops every process of his the moment it is his.

use super::*;
use crate::process;
use crate::signals::{Signal, kill};
use crate::spawn::{Identity, Stage};

fn as_user(uid: u32, mut launch: Launch) -> Launch {
    launch.identity = Some(Identity {
        uid,
        gid: uid,
        groups: vec![],
    });
    launch
}

/// Starts processes of that user until he has stopped one that has his id and hasn't executed yet.
fn stopped_before_exec(spawner: &mut Spawner, uid: u32) -> Pid {
    loop {
        let pid = spawner
            .spawn(as_user(uid, program(c"/bin/true")), None)
            .unwrap();
        loop {
            let stat = process::stat(pid).unwrap();
            match (stat.state, spawner.progress(pid)) {
                ('T', Progress::Starting(stage)) if stage >= Stage::User => return pid,
                ('T' | 'Z', _) => break,
                _ => std::thread::yield_now(),
            }
        }
        kill(pid, Signal::KILL).unwrap();
        end_of(spawner, pid);
    }
}

/// A child that its user has stopped between becoming his and executing its program. Each test needs a user of its own: he
/// stops all that is his.
pub(super) fn stopped_child(spawner: &mut Spawner, uid: u32) -> Pid {
    let attacker = spawner
        .spawn(
            as_user(uid, shell("while :; do kill -STOP -1; done 2>/dev/null")),
            None,
        )
        .unwrap();
    let stopped = stopped_before_exec(spawner, uid);
    kill(attacker, Signal::KILL).unwrap();
    end_of(spawner, attacker);
    stopped
}

#[test]
fn a_user_who_stops_every_new_process_stops_nobody_else() {
    if !is_root() {
        return;
    }
    for (way, mut spawner) in every_way() {
        let stopped = stopped_child(&mut spawner, NOBODY_HERE + 1);

        // We go on, with others and with his own.
        assert_eq!(
            run(&mut spawner, shell("exit 7")),
            (Exit::Code(7), None),
            "{way}"
        );
        assert_eq!(
            run(&mut spawner, as_user(NOBODY_HERE + 1, shell("exit 8"))),
            (Exit::Code(8), None),
            "{way}"
        );
        assert!(
            matches!(spawner.progress(stopped), Progress::Starting(_)),
            "{way}"
        );

        // He has no way into the memory that the child shares with us.
        let look = format!("cat /proc/{}/maps", stopped.as_raw_pid());
        assert_ne!(
            run(&mut spawner, as_user(NOBODY_HERE + 1, shell(&look))).0,
            Exit::Code(0),
            "{way}"
        );

        kill(stopped, Signal::CONT).unwrap();
        assert_eq!(
            end_of(&mut spawner, stopped),
            (Exit::Code(0), None),
            "{way}"
        );
        assert_eq!(spawner.under_way(), 0);
    }
}
