//! Stops, survivors, and the shutdown of everything.

use herm_testkit::scenario::check;

#[test]
fn the_main_process_is_asked_first_then_the_group_then_all_are_killed() {
    check(
        r"
            service gw want=up term=never grace=10s survivors=never
            5s down gw
            until 60s
        ",
        r"
            0ns gw: running (ready)
            5s gw <- TERM main
            5s gw: stopping (being stopped by an operator)
            10s gw <- TERM group
            15s gw: overran its grace
            15s gw <- KILL set
            15s gw: down (stopped by an operator)
        ",
    );
}

#[test]
fn a_process_in_uninterruptible_sleep_is_reported_and_killed_again() {
    check(
        r"
            service gw want=up term=never grace=2s dstate=12s
            5s down gw
            until 60s
        ",
        r"
            0ns gw: running (ready)
            5s gw <- TERM main
            5s gw: stopping (being stopped by an operator)
            6s gw <- TERM group
            7s gw: overran its grace
            7s gw <- KILL set
            8s gw: unkillable
            8s gw <- KILL set
            8s gw: stopping (a process of it survives KILL (uninterruptible sleep))
            13s gw <- KILL set
            18s gw <- KILL set
            19s gw: down (stopped by an operator)
        ",
    );
}

#[test]
fn nothing_starts_while_a_survivor_of_a_crash_lives() {
    check(
        r"
            service gw want=up survivors=never,1s exit=1 lives=90s grace=4s
            until 100s
        ",
        r"
            0ns gw: running (ready)
            90s gw <- TERM set
            90s gw: stopping (exit 1; whatever it left behind is being ended)
            94s gw: overran its grace
            94s gw <- KILL set
            94s gw: running (ready)
        ",
    );
}

#[test]
fn nothing_starts_while_a_survivor_of_a_restart_lives() {
    check(
        r"
            service gw want=up survivors=3s,5s grace=10s
            5s restart gw
            until 60s
        ",
        r"
            0ns gw: running (ready)
            5s gw <- TERM main
            5s gw: stopping (being restarted by an operator)
            5s gw <- TERM set
            5s gw: stopping (killed by SIGTERM; whatever it left behind is being ended)
            10s gw: running (ready)
        ",
    );
}

#[test]
fn a_grace_without_end_is_waited_for() {
    check(
        r"
            service gw want=up term=1h grace=never
            5s down gw
            until 4000s
        ",
        r"
            0ns gw: running (ready)
            5s gw <- TERM main
            5s gw: stopping (being stopped by an operator)
            3605s gw: down (stopped by an operator)
        ",
    );
}

#[test]
fn a_grace_without_end_does_not_hold_up_a_restart_after_a_crash() {
    check(
        r"
            service gw want=up survivors=never exit=1 lives=90s grace=never
            until 110s
        ",
        r"
            0ns gw: running (ready)
            90s gw <- TERM set
            90s gw: stopping (exit 1; whatever it left behind is being ended)
            100s gw: overran its grace
            100s gw <- KILL set
            100s gw: running (ready)
        ",
    );
}

#[test]
fn up_while_stopping_starts_again_at_the_end() {
    check(
        r"
            service gw want=up term=3s
            1s down gw
            2s up gw
            until 20s
        ",
        r"
            0ns gw: running (ready)
            1s gw <- TERM main
            1s gw: stopping (being stopped by an operator)
            2s gw: stopping (being restarted by an operator)
            4s gw: running (ready)
        ",
    );
}

#[test]
fn down_while_restarting_stays_down() {
    check(
        r"
            service gw want=up term=3s
            1s restart gw
            2s down gw
            until 20s
        ",
        r"
            0ns gw: running (ready)
            1s gw <- TERM main
            1s gw: stopping (being restarted by an operator)
            2s gw: stopping (being stopped by an operator)
            4s gw: down (stopped by an operator)
        ",
    );
}

#[test]
fn down_while_starting_stops() {
    check(
        r"
            service gw want=up exec=hangs
            1s down gw
            until 20s
        ",
        r"
            1s gw <- TERM main
            1s gw: stopping (being stopped by an operator)
            1s gw: down (stopped by an operator)
        ",
    );
}

#[test]
fn down_while_a_finish_script_runs_stays_down() {
    check(
        r"
            service gw s6 want=up exit=1 lives=90s finish=5s finishing=2s
            91s down gw
            until 100s
        ",
        r"
            0ns gw: running (ready)
            90s gw: finish script
            90s gw: stopping (exit 1; its finish script runs)
            92s gw: down (stopped by an operator)
        ",
    );
}

#[test]
fn a_disabled_service_reads_disabled_until_somebody_starts_it() {
    check(
        r"
            service dash want=disabled
            1s up dash
            2s disable dash
            until 5s
        ",
        r"
            0ns dash: disabled (switched off by configuration)
            1s dash: running (ready)
            2s dash <- TERM main
            2s dash: stopping (being stopped by an operator)
            2s dash: disabled (switched off by configuration)
        ",
    );
}

#[test]
fn a_shutdown_divides_its_budget_backwards_along_the_dependencies() {
    check(
        r"
            service db want=up term=never grace=10s
            service web want=up requires=db term=never grace=10s
            service other want=up term=never grace=3s
            10s shutdown 8s
            until 30s
        ",
        r"
            0ns db: running (ready)
            0ns web: running (ready)
            0ns other: running (ready)
            10s other <- TERM main
            10s web <- TERM main
            10s other: stopping (everything is being shut down)
            10s web: stopping (everything is being shut down)
            11.5s other <- TERM group
            11.75s web <- TERM group
            13s other: overran its grace
            13s other <- KILL set
            13s other: down (everything was shut down)
            13.5s db <- TERM main
            13.5s web: overran its grace
            13.5s web <- KILL set
            13.5s db: stopping (everything is being shut down)
            13.5s web: down (everything was shut down)
            15.25s db <- TERM group
            17s db: overran its grace
            17s db <- KILL set
            17s shutdown done, 0 left
            17s db: down (everything was shut down)
        ",
    );
}

#[test]
fn a_shutdown_passes_on_what_quick_services_leave() {
    check(
        r"
            service db want=up term=6s grace=10s
            service web want=up requires=db term=500ms grace=10s
            10s shutdown 8s
            until 30s
        ",
        r"
            0ns db: running (ready)
            0ns web: running (ready)
            10s web <- TERM main
            10s web: stopping (everything is being shut down)
            10.5s db <- TERM main
            10.5s web: down (everything was shut down)
            10.5s db: stopping (everything is being shut down)
            13.75s db <- TERM group
            16.5s shutdown done, 0 left
            16.5s db: down (everything was shut down)
        ",
    );
}

#[test]
fn a_shutdown_goes_on_without_the_unkillable() {
    check(
        r"
            service db want=up
            service web want=up requires=db term=never dstate=60s grace=3s
            1s shutdown 8s
            until 11s
        ",
        r"
            0ns db: running (ready)
            0ns web: running (ready)
            1s web <- TERM main
            1s web: stopping (everything is being shut down)
            2.05s web <- TERM group
            3.1s db <- TERM main
            3.1s web: overran its grace
            3.1s web <- KILL set
            3.1s db: stopping (everything is being shut down)
            3.1s db: down (everything was shut down)
            4.1s web: unkillable
            4.1s web <- KILL set
            4.1s web: stopping (a process of it survives KILL (uninterruptible sleep))
            9s shutdown done, 1 left
            9.1s web <- KILL set
        ",
    );
}

#[test]
fn a_shutdown_of_nothing_is_done_at_once() {
    check(
        r"
            service a
            1s shutdown 8s
            until 30s
        ",
        r"
            0ns a: down (not started yet)
            1s shutdown done, 0 left
        ",
    );
}

#[test]
fn a_shutdown_cuts_short_a_stop_that_has_begun() {
    check(
        r"
            service a want=up term=never grace=60s
            1s down a
            2s shutdown 8s
            until 70s
        ",
        r"
            0ns a: running (ready)
            1s a <- TERM main
            1s a: stopping (being stopped by an operator)
            2s a: stopping (everything is being shut down)
            5.5s a <- TERM group
            9s a: overran its grace
            9s a <- KILL set
            9s shutdown done, 0 left
            9s a: down (stopped by an operator)
        ",
    );
}

#[test]
fn a_shutdown_ends_delays_and_waiting() {
    check(
        r"
            service a want=up exit=1 lives=10ms
            service b want=up requires=c
            service d want=up exit=78 lives=10ms
            1.5s shutdown 8s
            until 30s
        ",
        r"
            0ns a: running (ready)
            0ns b: starting (waits for c, which is not registered)
            0ns d: running (ready)
            10ms a: backoff (exit 1), next start 1.01s
            10ms d: parked (exit 78, which a restart doesn't cure)
            1.01s a: running (ready)
            1.02s a: backoff (exit 1; 2 in a row), next start 3.02s
            1.5s shutdown done, 0 left
            1.5s a: down (everything was shut down)
            1.5s b: down (everything was shut down)
            1.5s d: down (everything was shut down)
        ",
    );
}

#[test]
fn finish_scripts_run_in_a_shutdown() {
    check(
        r"
            service a s6 want=up finish=5s finishes=0 term=1s
            5s shutdown 8s
            until 20s
        ",
        r"
            0ns a: running (ready)
            5s a <- TERM main
            5s a: stopping (everything is being shut down)
            6s a: finish script
            6s a: stopping (killed by SIGTERM; its finish script runs)
            6s shutdown done, 0 left
            6s a: down (everything was shut down)
        ",
    );
}

#[test]
fn a_shutdown_takes_no_orders_to_start() {
    check(
        r"
            service a want=up term=2s
            1s shutdown 8s
            2s up a
            2s once a
            2s restart a
            2s down a
            2s register b want=up
            9s signal a 15
            until 20s
        ",
        r"
            0ns a: running (ready)
            1s a <- TERM main
            1s a: stopping (everything is being shut down)
            2s a: up refused: everything is being shut down
            2s a: once refused: everything is being shut down
            2s a: restart refused: everything is being shut down
            2s b: not registered: everything is being shut down
            3s shutdown done, 0 left
            3s a: down (stopped by an operator)
            9s a: signal refused: it is not running
        ",
    );
}

#[test]
fn a_second_shutdown_can_only_shorten_the_first() {
    check(
        r"
            service a want=up term=never grace=20s
            1s shutdown 18s
            2s shutdown 60s
            3s shutdown 4s
            until 30s
        ",
        r"
            0ns a: running (ready)
            1s a <- TERM main
            1s a: stopping (everything is being shut down)
            4.5s a <- TERM group
            6s a: overran its grace
            6s a <- KILL set
            6s shutdown done, 0 left
            6s a: down (everything was shut down)
        ",
    );
}

#[test]
fn a_finish_script_that_hangs_is_killed() {
    check(
        r"
            service gw s6 want=up exit=1 lives=90s finish=5s finishing=1h
            until 96s
        ",
        r"
            0ns gw: running (ready)
            90s gw: finish script
            90s gw: stopping (exit 1; its finish script runs)
            95s gw: overran its grace
            95s gw <- KILL set
            95s gw: running (ready)
        ",
    );
}
