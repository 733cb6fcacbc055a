//! Dependencies, readiness and health.

use herm_testkit::scenario::check;

#[test]
fn a_service_starts_when_what_it_requires_is_ready() {
    check(
        r"
            service db ready=notify:10s announces=2s
            service web want=up requires=db
            1s up db
            until 9s
        ",
        r"
            0ns db: down (not started yet)
            0ns web: starting (waits for db, which is down)
            1s web: starting (waits for db, which is not ready)
            1s db: starting (not ready yet)
            3s db: running (ready)
            3s web: running (ready)
        ",
    );
}

#[test]
fn dependents_stay_when_what_they_require_restarts() {
    check(
        r"
            service db want=up
            service web want=up requires=db
            10s restart db
            20s exit db 1
            until 30s
        ",
        r"
            0ns db: running (ready)
            0ns web: running (ready)
            10s db <- TERM main
            10s db: stopping (being restarted by an operator)
            10s db: running (ready)
            20s db: running (ready)
        ",
    );
}

#[test]
fn dependents_stop_when_what_they_require_is_stopped_and_return_with_it() {
    check(
        r"
            service db want=up
            service web want=up requires=db term=2s
            service ui want=up requires=web
            10s down db
            20s up db
            until 30s
        ",
        r"
            0ns db: running (ready)
            0ns web: running (ready)
            0ns ui: running (ready)
            10s db <- TERM main
            10s web <- TERM main
            10s ui <- TERM main
            10s web: stopping (a service it requires was stopped)
            10s ui: stopping (a service it requires was stopped)
            10s db: stopping (being stopped by an operator)
            10s db: down (stopped by an operator)
            10s ui: starting (waits for web, which is not ready)
            12s web: starting (waits for db, which is down)
            20s web: starting (waits for db, which is not ready)
            20s db: running (ready)
            20s web: running (ready)
            20s ui: running (ready)
        ",
    );
}

#[test]
fn dependents_wait_for_a_service_that_was_unregistered() {
    check(
        r"
            service db want=up
            service web want=up requires=db
            10s unregister db
            20s register db want=up
            until 30s
        ",
        r"
            0ns db: running (ready)
            0ns web: running (ready)
            10s db <- TERM main
            10s web <- TERM main
            10s web: stopping (a service it requires was stopped)
            10s db: stopping (being unregistered)
            10s db: removed
            10s web: starting (waits for db, which is not registered)
            20s web: starting (waits for db, which is not ready)
            20s db: running (ready)
            20s web: running (ready)
        ",
    );
}

#[test]
fn after_orders_starts_and_asks_for_nothing_else() {
    check(
        r"
            service a ready=notify announces=2s
            service b want=up after=a
            1s up a
            1s restart b
            10s down a
            until 20s
        ",
        r"
            0ns a: down (not started yet)
            0ns b: running (ready)
            1s a: starting (not ready yet)
            1s b <- TERM main
            1s b: stopping (being restarted by an operator)
            1s b: starting (waits for a, which is not ready)
            3s a: running (ready)
            3s b: running (ready)
            10s a <- TERM main
            10s a: stopping (being stopped by an operator)
            10s a: down (stopped by an operator)
        ",
    );
}

#[test]
fn a_failing_service_holds_up_only_those_that_require_it() {
    check(
        r"
            service a want=up exit=78 lives=10ms ready=after:1s
            service needs want=up requires=a
            service follows want=up after=a
            until 5s
        ",
        r"
            0ns a: starting (not ready yet)
            0ns needs: starting (waits for a, which is not ready)
            0ns follows: starting (waits for a, which is not ready)
            10ms a: parked (exit 78, which a restart doesn't cure)
            10ms needs: starting (waits for a, which is not tried again by itself)
            10ms follows: running (ready)
        ",
    );
}

#[test]
fn a_circle_is_refused_with_its_path() {
    check(
        r"
            service a requires=b
            service b after=c
            service c requires=a
            until 1s
        ",
        r"
            0ns a: down (not started yet)
            0ns b: down (not started yet)
            0ns c: not registered: services would wait for each other in a circle: c -> a -> b -> c
        ",
    );
}

#[test]
fn a_service_that_requires_itself_is_refused() {
    check(
        r"
            service a requires=a
            until 1s
        ",
        r"
            0ns a: not registered: services would wait for each other in a circle: a -> a
        ",
    );
}

#[test]
fn independent_services_start_in_parallel() {
    check(
        r"
            service a want=up ready=notify announces=2s
            service b want=up ready=notify announces=2s
            service c want=up requires=a,b
            until 5s
        ",
        r"
            0ns a: starting (not ready yet)
            0ns b: starting (not ready yet)
            0ns c: starting (waits for a, which is not ready)
            2s a: running (ready)
            2s c: starting (waits for b, which is not ready)
            2s b: running (ready)
            2s c: running (ready)
        ",
    );
}

#[test]
fn a_oneshot_is_up_when_it_is_done() {
    check(
        r"
            service setup oneshot want=up lives=2s exit=0
            service web want=up requires=setup
            until 9s
        ",
        r"
            0ns setup: starting (its work is not done yet)
            0ns web: starting (waits for setup, which is not ready)
            2s setup: running (its work is done)
            2s web: running (ready)
        ",
    );
}

#[test]
fn a_oneshot_that_fails_is_tried_again() {
    check(
        r"
            service setup oneshot want=up lives=500ms exit=3
            3.5s now setup exit=0
            until 20s
        ",
        r"
            0ns setup: starting (its work is not done yet)
            500ms setup: backoff (exit 3), next start 1.5s
            1.5s setup: starting (its work is not done yet)
            2s setup: backoff (exit 3; 2 in a row), next start 4s
            4s setup: starting (its work is not done yet)
            4.5s setup: running (its work is done)
        ",
    );
}

#[test]
fn a_oneshot_runs_again_by_restart_and_after_what_it_requires_was_stopped() {
    check(
        r"
            service db want=up
            service setup oneshot want=up lives=1s exit=0 requires=db
            5s up setup
            5s restart setup
            10s down db
            15s up db
            until 20s
        ",
        r"
            0ns db: running (ready)
            0ns setup: starting (its work is not done yet)
            1s setup: running (its work is done)
            5s setup: starting (its work is not done yet)
            6s setup: running (its work is done)
            10s db <- TERM main
            10s setup: starting (waits for db, which is not ready)
            10s db: stopping (being stopped by an operator)
            10s db: down (stopped by an operator)
            10s setup: starting (waits for db, which is down)
            15s setup: starting (waits for db, which is not ready)
            15s db: running (ready)
            15s setup: starting (its work is not done yet)
            16s setup: running (its work is done)
        ",
    );
}

#[test]
fn a_service_that_is_not_ready_in_time_has_failed() {
    check(
        r"
            service gw want=up ready=notify:5s announces=never
            until 12s
        ",
        r"
            0ns gw: starting (not ready yet)
            5s gw <- TERM main
            5s gw: stopping (not ready in time, being stopped)
            5s gw: starting (not ready yet)
            10s gw <- TERM main
            10s gw: stopping (not ready in time, being stopped)
            10s gw: backoff (it did not become ready in time), next start 11s
            11s gw: starting (not ready yet)
        ",
    );
}

#[test]
fn a_service_can_be_ready_by_staying_up() {
    check(
        r"
            service gw want=up exit=1 lives=500ms ready=after:1s
            1.1s now gw lives=never
            until 9s
        ",
        r"
            0ns gw: starting (not ready yet)
            500ms gw: backoff (exit 1), next start 1.5s
            1.5s gw: starting (not ready yet)
            2.5s gw: running (ready)
        ",
    );
}

#[test]
fn probes_make_a_service_ready() {
    check(
        r"
            service gw want=up ready=probe:30s probes=fail
            9s now gw probes=ok
            10s restart gw
            until 11s
        ",
        r"
            0ns gw: probe readiness
            0ns gw: starting (not ready yet)
            6s gw: probe readiness
            10s gw <- TERM main
            10s gw: stopping (being restarted by an operator)
            10s gw: probe readiness
            10s gw: starting (not ready yet)
            10s gw: running (ready)
        ",
    );
}

#[test]
fn failing_health_checks_restart_a_service() {
    check(
        r"
            service gw want=up health=2 probes=fail
            12s now gw probes=ok
            until 14s
        ",
        r"
            0ns gw: running (ready)
            1s gw: probe health
            7s gw: probe health
            12s gw <- TERM main
            12s gw: stopping (unhealthy, being stopped)
            12s gw: running (ready)
            13s gw: probe health
        ",
    );
}

#[test]
fn a_probe_without_an_answer_has_failed() {
    check(
        r"
            service gw want=up health=1 probes=lost
            until 8s
        ",
        r"
            0ns gw: running (ready)
            1s gw: probe health
            7s gw <- TERM main
            7s gw: stopping (unhealthy, being stopped)
            7s gw: running (ready)
            8s gw: probe health
        ",
    );
}

#[test]
fn dependents_stop_when_what_they_require_has_run_its_one_time() {
    check(
        r"
            service db want=once lives=5s exit=0
            service web want=up requires=db
            until 20s
        ",
        r"
            0ns db: running (ready)
            0ns web: running (ready)
            5s web <- TERM main
            5s db: down (ran once, as asked: exit 0)
            5s web: stopping (a service it requires was stopped)
            5s web: starting (waits for db, which is down)
        ",
    );
}
