//! Lessons as far as the engine is what has learnt them. The number is that of the lesson.

use herm_testkit::scenario::check;

#[test]
fn l08_a_requested_restart_is_honoured_at_once() {
    check(
        r"
            service gw want=up exit=75 lives=12s
            until 40s
        ",
        r"
            0ns gw: running (ready)
            12s gw: running (ready)
            24s gw: running (ready)
            36s gw: running (ready)
        ",
    );
}

#[test]
fn l08_a_loop_of_requested_restarts_is_broken_with_a_reason() {
    check(
        r"
            service gw want=up exit=75 lives=2s
            until 12s
        ",
        r"
            0ns gw: running (ready)
            2s gw: running (ready)
            4s gw: running (ready)
            6s gw: backoff (restart loop: it asked for a restart 3 times in a row), next start 7s
            7s gw: running (ready)
            9s gw: backoff (restart loop: it asked for a restart 4 times in a row; 2 in a row), next start 11s
            11s gw: running (ready)
        ",
    );
}

// The process that asked is the one that is stopped; nothing is left to be asked again.
#[test]
fn l08_a_restart_survives_the_death_of_whoever_asked_for_it() {
    check(
        r"
            service gw want=up term=3s
            1s restart gw
            until 100s
        ",
        r"
            0ns gw: running (ready)
            1s gw <- TERM main
            1s gw: stopping (being restarted by an operator)
            4s gw: running (ready)
        ",
    );
}

#[test]
fn l10_exit_78_parks_the_service() {
    check(
        r"
            service gw want=up exit=78 lives=500ms
            100000s now gw lives=never
            100000s up gw
            until 100001s
        ",
        r"
            0ns gw: running (ready)
            500ms gw: parked (exit 78, which a restart doesn't cure)
            100000s gw: running (ready)
        ",
    );
}

#[test]
fn l10_exit_125_parks_the_service() {
    check(
        r"
            service gw want=up exit=125 lives=500ms
            until 100000s
        ",
        r"
            0ns gw: running (ready)
            500ms gw: parked (exit 125, which a restart doesn't cure)
        ",
    );
}

#[test]
fn l10_a_parked_service_wakes_but_a_wake_obeys_the_delay() {
    check(
        r"
            service gw want=up exit=78 lives=100ms
            1s wake gw
            1.5s wake gw
            3.2s wake gw
            4s wake gw
            60s now gw lives=never
            60s wake gw
            until 100s
        ",
        r"
            0ns gw: running (ready)
            100ms gw: parked (exit 78, which a restart doesn't cure)
            1s gw: backoff (its inputs changed; it waits for its turn), next start 1.1s
            1.1s gw: running (ready)
            1.2s gw: parked (exit 78, which a restart doesn't cure)
            1.5s gw: backoff (its inputs changed; it waits for its turn), next start 3.2s
            3.2s gw: running (ready)
            3.3s gw: parked (exit 78, which a restart doesn't cure)
            4s gw: backoff (its inputs changed; it waits for its turn), next start 7.3s
            7.3s gw: running (ready)
            7.4s gw: parked (exit 78, which a restart doesn't cure)
            60s gw: running (ready)
        ",
    );
}

#[test]
fn l11_failures_back_off_to_a_cap_and_never_become_final() {
    check(
        r"
            service gw want=up exit=1 lives=100ms
            600s now gw lives=never
            until 1000s
        ",
        r"
            0ns gw: running (ready)
            100ms gw: backoff (exit 1), next start 1.1s
            1.1s gw: running (ready)
            1.2s gw: backoff (exit 1; 2 in a row), next start 3.2s
            3.2s gw: running (ready)
            3.3s gw: backoff (exit 1; 3 in a row), next start 7.3s
            7.3s gw: running (ready)
            7.4s gw: backoff (exit 1; 4 in a row), next start 15.4s
            15.4s gw: running (ready)
            15.5s gw: backoff (exit 1; 5 in a row), next start 31.5s
            31.5s gw: running (ready)
            31.6s gw: backoff (exit 1; 6 in a row), next start 63.6s
            63.6s gw: running (ready)
            63.7s gw: backoff (exit 1; 7 in a row), next start 123.7s
            123.7s gw: running (ready)
            123.8s gw: backoff (exit 1; 8 in a row), next start 183.8s
            183.8s gw: running (ready)
            183.9s gw: backoff (exit 1; 9 in a row), next start 243.9s
            243.9s gw: running (ready)
            244s gw: backoff (exit 1; 10 in a row), next start 304s
            304s gw: running (ready)
            304.1s gw: backoff (exit 1; 11 in a row), next start 364.1s
            364.1s gw: running (ready)
            364.2s gw: backoff (exit 1; 12 in a row), next start 424.2s
            424.2s gw: running (ready)
            424.3s gw: backoff (exit 1; 13 in a row), next start 484.3s
            484.3s gw: running (ready)
            484.4s gw: backoff (exit 1; 14 in a row), next start 544.4s
            544.4s gw: running (ready)
            544.5s gw: backoff (exit 1; 15 in a row), next start 604.5s
            604.5s gw: running (ready)
        ",
    );
}

#[test]
fn l13_a_finish_script_that_returns_0_hides_no_failure() {
    check(
        r"
            service gw s6 want=up exit=1 lives=100ms finish=5s finishes=0
            until 2s
        ",
        r"
            0ns gw: running (ready)
            100ms gw: finish script
            100ms gw: stopping (exit 1; its finish script runs)
            100ms gw: backoff (exit 1), next start 1.1s
            1.1s gw: running (ready)
            1.2s gw: finish script
            1.2s gw: stopping (exit 1; its finish script runs)
            1.2s gw: backoff (exit 1; 2 in a row), next start 3.2s
        ",
    );
}

#[test]
fn l41_stopping_takes_as_long_as_the_slowest_service() {
    check(
        r"
            service a want=up term=300ms
            service b want=up term=700ms
            service c want=up
            1s shutdown 8s
            until 20s
        ",
        r"
            0ns a: running (ready)
            0ns b: running (ready)
            0ns c: running (ready)
            1s a <- TERM main
            1s b <- TERM main
            1s c <- TERM main
            1s a: stopping (everything is being shut down)
            1s b: stopping (everything is being shut down)
            1s c: stopping (everything is being shut down)
            1s c: down (everything was shut down)
            1.3s a: down (everything was shut down)
            1.7s shutdown done, 0 left
            1.7s b: down (everything was shut down)
        ",
    );
}

#[test]
fn l42_unregistering_is_over_when_the_last_process_is_gone() {
    check(
        r"
            service a want=up term=2s survivors=3s
            1s unregister a
            1.5s register a
            7s register a want=up
            until 9s
        ",
        r"
            0ns a: running (ready)
            1s a <- TERM main
            1s a: stopping (being unregistered)
            1.5s a: not registered: a service of this name is still being unregistered; wait until it is
            3s a <- TERM set
            3s a: stopping (killed by SIGTERM; whatever it left behind is being ended)
            6s a: removed
            7s a: running (ready)
        ",
    );
}

// Runs of two seconds, a minute apart: nothing fails for 60 s again and again, nothing is stable.
#[test]
fn l77_a_crash_loop_is_not_forgotten_by_waiting() {
    check(
        r"
            service gw want=up exit=1 lives=2s
            until 300s
        ",
        r"
            0ns gw: running (ready)
            2s gw: running (ready)
            4s gw: backoff (exit 1), next start 5s
            5s gw: running (ready)
            7s gw: backoff (exit 1; 2 in a row), next start 9s
            9s gw: running (ready)
            11s gw: backoff (exit 1; 3 in a row), next start 15s
            15s gw: running (ready)
            17s gw: backoff (exit 1; 4 in a row), next start 25s
            25s gw: running (ready)
            27s gw: backoff (exit 1; 5 in a row), next start 43s
            43s gw: running (ready)
            45s gw: backoff (exit 1; 6 in a row), next start 77s
            77s gw: running (ready)
            79s gw: backoff (exit 1; 7 in a row), next start 139s
            139s gw: running (ready)
            141s gw: backoff (exit 1; 8 in a row), next start 201s
            201s gw: running (ready)
            203s gw: backoff (exit 1; 9 in a row), next start 263s
            263s gw: running (ready)
            265s gw: backoff (exit 1; 10 in a row), next start 325s
        ",
    );
}

#[test]
fn l81_a_stable_service_restarts_at_once_and_a_broken_one_reads_backoff() {
    check(
        r"
            service stable want=up
            service broken want=up exit=1 lives=10ms
            100s exit stable 1
            until 101s
        ",
        r"
            0ns stable: running (ready)
            0ns broken: running (ready)
            10ms broken: backoff (exit 1), next start 1.01s
            1.01s broken: running (ready)
            1.02s broken: backoff (exit 1; 2 in a row), next start 3.02s
            3.02s broken: running (ready)
            3.03s broken: backoff (exit 1; 3 in a row), next start 7.03s
            7.03s broken: running (ready)
            7.04s broken: backoff (exit 1; 4 in a row), next start 15.04s
            15.04s broken: running (ready)
            15.05s broken: backoff (exit 1; 5 in a row), next start 31.05s
            31.05s broken: running (ready)
            31.06s broken: backoff (exit 1; 6 in a row), next start 63.06s
            63.06s broken: running (ready)
            63.07s broken: backoff (exit 1; 7 in a row), next start 123.07s
            100s stable: running (ready)
        ",
    );
}
