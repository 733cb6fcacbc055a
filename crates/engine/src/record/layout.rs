//! The layout of records: one list per type. A change here is a new version.

use crate::model::{Exit, Failure, Health, LastExit, Probe, RunEnd, SpawnFailure, StopCause, Want};
use crate::service::phase::{BackoffWhy, DownWhy, Ended, FinishStage, ParkWhy, Phase, Up};
use crate::service::steps::{Step, Steps};
use crate::service::tally::{Fate, Tally};
use crate::service::watch::{Clock, Stage, Watch};
use crate::{record_enum, record_struct};

record_enum! {
    Want { 0 => Up, 1 => Once, 2 => Down, 3 => Disabled }
    Exit { 0 => Code(code), 1 => Signal { signal, core } }
    RunEnd { 0 => Exited(exit), 1 => NotSpawned(failure) }
    StopCause {
        0 => NotReadyInTime,
        1 => Unhealthy,
        2 => Requirement,
        3 => Restart,
        4 => Operator,
        5 => Removal,
        6 => Shutdown,
    }
    Failure {
        0 => Ended(end),
        1 => RestartLoop { requests },
        2 => NotReadyInTime,
        3 => Unhealthy,
    }
    Fate {
        0 => Ordered,
        1 => Held,
        2 => Restart,
        3 => Later { failure, failures, delay },
        4 => Park { exit, delay },
        5 => ParkByFinish,
        6 => GiveUp { failure, failures, within },
        7 => Done,
    }
    DownWhy { 0 => NeverStarted, 1 => Stopped, 2 => RanOnce(end), 3 => Shutdown }
    BackoffWhy { 0 => Failed { failure, failures }, 1 => Woken }
    ParkWhy { 0 => Permanent(exit), 1 => FinishSaidNo(end) }
    FinishStage { 0 => Spawning, 1 => Running { pid }, 2 => Draining }
    Step {
        0 => Asked { group_at },
        1 => AllAsked,
        2 => Killed { unkillable_at },
        3 => Unkillable { again_at },
    }
    Clock { 0 => Due(at), 1 => Waiting { probe, lost_at } }
    Stage {
        0 => Settling { ready_at },
        1 => Notifying { give_up_at },
        2 => Probing { probe, needed, successes, clock, give_up_at },
        3 => Ready { health },
        4 => Working { give_up_at },
    }
    Phase {
        0 => Down(why),
        1 => Waiting { automatic, stuck },
        2 => Backoff { until, why },
        3 => Parked { why, wake_from },
        4 => Failed { failure, failures, within },
        5 => Done,
        6 => Spawning { run, give_up_at },
        7 => Running { run, up, stage },
        8 => Stopping { run, up, cause, steps },
        9 => Draining { ended, steps },
        10 => Finishing { ended, run, stage, steps },
    }
}

record_struct! {
    SpawnFailure { stage, errno }
    LastExit { run, end, at, after }
    Probe { interval, timeout }
    Health { probe, failures, restart }
    Watch { policy, clock, failures, known }
    Up { pid, since }
    Ended { run, exit, pid, fate }
    Steps { step, kill_at }
    Tally { failures, ever_failed, requests, recent }
}
