//! Ends and what follows from them: delays, parking, requests, limits, finish scripts.

use herm_testkit::scenario::check;

#[test]
fn a_stable_service_restarts_at_once_and_its_delay_begins_anew() {
    check(
        r"
            service gw want=up exit=1 lives=100ms
            10s now gw lives=100s
            120s now gw lives=100ms
            until 220s
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
            115.4s gw: running (ready)
            215.4s gw: running (ready)
            215.5s gw: backoff (exit 1), next start 216.5s
            216.5s gw: running (ready)
            216.6s gw: backoff (exit 1; 2 in a row), next start 218.6s
            218.6s gw: running (ready)
            218.7s gw: backoff (exit 1; 3 in a row), next start 222.7s
        ",
    );
}

#[test]
fn a_first_failure_ever_restarts_at_once_if_the_run_lasted_a_second() {
    check(
        r"
            service gw want=up exit=1 lives=1s
            until 6s
        ",
        r"
            0ns gw: running (ready)
            1s gw: running (ready)
            2s gw: backoff (exit 1), next start 3s
            3s gw: running (ready)
            4s gw: backoff (exit 1; 2 in a row), next start 6s
            6s gw: running (ready)
        ",
    );
}

#[test]
fn a_first_failure_of_a_shorter_run_is_delayed() {
    check(
        r"
            service gw want=up exit=1 lives=999ms
            until 2s
        ",
        r"
            0ns gw: running (ready)
            999ms gw: backoff (exit 1), next start 1.999s
            1.999s gw: running (ready)
        ",
    );
}

#[test]
fn exit_0_of_a_longrun_is_an_end_like_any_other() {
    check(
        r"
            service gw want=up exit=0 lives=100ms
            until 3s
        ",
        r"
            0ns gw: running (ready)
            100ms gw: backoff (exit 0), next start 1.1s
            1.1s gw: running (ready)
            1.2s gw: backoff (exit 0; 2 in a row), next start 3.2s
        ",
    );
}

#[test]
fn a_failed_exec_backs_off() {
    check(
        r"
            service gw want=up exec=fails
            until 5s
        ",
        r"
            0ns gw: backoff (could not execute it (errno 2)), next start 1s
            1s gw: backoff (could not execute it (errno 2); 2 in a row), next start 3s
            3s gw: backoff (could not execute it (errno 2); 3 in a row), next start 7s
        ",
    );
}

#[test]
fn an_exec_that_hangs_is_given_up() {
    check(
        r"
            service gw want=up exec=hangs
            60.5s now gw exec=ok
            until 70s
        ",
        r"
            60s gw <- TERM main
            60s gw: stopping (not ready in time, being stopped)
            60s gw: backoff (it did not become ready in time), next start 61s
            61s gw: running (ready)
        ",
    );
}

#[test]
fn an_operators_start_ends_a_delay_and_forgives() {
    check(
        r"
            service gw want=up exit=1 lives=100ms
            10s up gw
            until 14s
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
            10s gw: running (ready)
            10.1s gw: backoff (exit 1), next start 11.1s
            11.1s gw: running (ready)
            11.2s gw: backoff (exit 1; 2 in a row), next start 13.2s
            13.2s gw: running (ready)
            13.3s gw: backoff (exit 1; 3 in a row), next start 17.3s
        ",
    );
}

#[test]
fn an_end_by_an_operators_signal_is_no_failure() {
    check(
        r"
            service gw want=up
            100ms signal gw 15
            200ms signal gw 9
            300ms kill gw 9
            until 2s
        ",
        r"
            0ns gw: running (ready)
            100ms gw <- TERM main
            100ms gw: running (ready)
            200ms gw <- KILL main
            200ms gw: running (ready)
            300ms gw: backoff (killed by SIGKILL), next start 1.3s
            1.3s gw: running (ready)
        ",
    );
}

#[test]
fn a_signal_that_does_not_end_a_process_excuses_nothing() {
    check(
        r"
            service gw want=up
            100ms signal gw 18
            200ms exit gw 1
            until 1s
        ",
        r"
            0ns gw: running (ready)
            100ms gw <- CONT main
            200ms gw: backoff (exit 1), next start 1.2s
        ",
    );
}

#[test]
fn a_burst_limit_makes_failures_final_until_an_operator_acts() {
    check(
        r"
            service gw want=up exit=1 lives=100ms burst=3/60s
            30s now gw lives=never
            30s up gw
            until 40s
        ",
        r"
            0ns gw: running (ready)
            100ms gw: backoff (exit 1), next start 1.1s
            1.1s gw: running (ready)
            1.2s gw: backoff (exit 1; 2 in a row), next start 3.2s
            3.2s gw: running (ready)
            3.3s gw: failed (exit 1; 3 failures within 60s, the limit)
            30s gw: running (ready)
        ",
    );
}

#[test]
fn failures_outside_the_burst_window_do_not_count() {
    check(
        r"
            service gw want=up exit=1 lives=100ms burst=4/5s
            until 40s
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
        ",
    );
}

#[test]
fn exit_75_in_s6_format_means_nothing_special() {
    check(
        r"
            service gw s6 want=up exit=75 lives=100ms
            until 2s
        ",
        r"
            0ns gw: running (ready)
            100ms gw: backoff (exit 75), next start 1.1s
            1.1s gw: running (ready)
            1.2s gw: backoff (exit 75; 2 in a row), next start 3.2s
        ",
    );
}

#[test]
fn a_finish_script_runs_after_each_death_and_before_the_next_start() {
    check(
        r"
            service gw s6 want=up exit=1 lives=100ms finish=5s
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
fn exit_125_of_a_finish_script_parks_the_service() {
    check(
        r"
            service gw s6 want=up exit=0 lives=100ms finish=5s finishes=125
            100s up gw
            100.01s now gw finishes=0
            100.05s down gw
            until 200s
        ",
        r"
            0ns gw: running (ready)
            100ms gw: finish script
            100ms gw: stopping (exit 0; its finish script runs)
            100ms gw: parked (exit 0; its finish script said not to start it again (exit 125))
            100s gw: running (ready)
            100.05s gw <- TERM main
            100.05s gw: stopping (being stopped by an operator)
            100.05s gw: finish script
            100.05s gw: stopping (killed by SIGTERM; its finish script runs)
            100.05s gw: down (stopped by an operator)
        ",
    );
}

#[test]
fn a_service_that_ran_once_stays_down() {
    check(
        r"
            service main want=once exit=3 lives=5s
            until 100s
        ",
        r"
            0ns main: running (ready)
            5s main: down (ran once, as asked: exit 3)
        ",
    );
}

#[test]
fn a_running_service_that_is_let_end_is_not_restarted() {
    check(
        r"
            service gw want=up exit=1 lives=5s
            1s let_end gw
            until 100s
        ",
        r"
            0ns gw: running (ready)
            5s gw: down (ran once, as asked: exit 1)
        ",
    );
}

#[test]
fn once_starts_a_service_that_is_down_and_restart_runs_it_again() {
    check(
        r"
            service gw exit=0 lives=5s
            1s once gw
            3s restart gw
            until 100s
        ",
        r"
            0ns gw: down (not started yet)
            1s gw: running (ready)
            3s gw <- TERM main
            3s gw: stopping (being restarted by an operator)
            3s gw: running (ready)
            8s gw: down (ran once, as asked: exit 0)
        ",
    );
}

#[test]
fn an_end_long_after_an_operators_signal_is_a_failure() {
    check(
        r"
            service gw want=up exit=1 lives=100ms
            500ms now gw lives=never
            2s signal gw 1
            3s exit gw 1
            4s signal gw 1
            20s exit gw 1
            until 21s
        ",
        r"
            0ns gw: running (ready)
            100ms gw: backoff (exit 1), next start 1.1s
            1.1s gw: running (ready)
            2s gw <- HUP main
            3s gw: running (ready)
            4s gw <- HUP main
            20s gw: backoff (exit 1; 2 in a row), next start 22s
        ",
    );
}
