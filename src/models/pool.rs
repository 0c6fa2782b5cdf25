//! Models of the pool: no worker sleeps while a job waits, and a closed pool ends.

use super::{FOREVER, Mailbox, model};
use crate::Scheduler;
use crate::pool::roster::{Rest, Roster};
use crate::sync::{Arc, thread, yield_now};

/// Runs jobs like a thread of the pool, until the pool is closed.
///
/// This is a copy of the loop of `PoolShared::work` in `src/pool/mod.rs`, so a change there needs
/// the same change here. The copy leaves out `has_surplus` and the hook that is called when a task
/// blocks.
fn work(roster: &Roster, jobs: &Mailbox<u8>) {
    let seat = roster.enlist(thread::current());
    loop {
        match jobs.take() {
            Some(_) => roster.taken(),
            None if roster.is_wanted() => yield_now(),
            None => {
                if roster.rest(seat, thread::park) == Rest::End {
                    break;
                }
            }
        }
    }
}

fn push(roster: &Arc<Roster>, jobs: &Arc<Mailbox<u8>>, job: u8) {
    roster.announce();
    jobs.post(job);
    let (r, j) = (Arc::clone(roster), Arc::clone(jobs));
    roster.rouse(move || {
        let (roster, jobs) = (Arc::clone(&r), Arc::clone(&j));
        thread::spawn(move || work(&roster, &jobs));
        true
    });
}

/// A worker that is about to sleep sees the job or is woken for it. If neither happens, the pool
/// never ends.
#[test]
fn worker_sees_job_when_going_to_sleep() {
    model(3, || {
        let roster = Arc::new(Roster::new(1, 1));
        let jobs = Mailbox::edgeless();
        push(&roster, &jobs, 1);
        push(&roster, &jobs, 2);
        while roster.has_pending() {
            yield_now();
        }
        roster.close();
    });
}

/// No thread checks here whether jobs are pending. If a job is left while all threads sleep, the
/// checker reports a deadlock.
#[test]
fn single_worker_wakes_when_two_threads_push() {
    model(2, || {
        let roster = Arc::new(Roster::new(1, 1));
        let jobs = Mailbox::edgeless();
        let other = {
            let (roster, jobs) = (Arc::clone(&roster), Arc::clone(&jobs));
            thread::spawn(move || push(&roster, &jobs, 1))
        };
        push(&roster, &jobs, 2);
        other.join().unwrap();
        roster.close();
    });
}

#[test]
fn pool_ends_when_two_workers_share_jobs() {
    model(2, || {
        let roster = Arc::new(Roster::new(2, 2));
        let jobs = Mailbox::edgeless();
        push(&roster, &jobs, 1);
        push(&roster, &jobs, 2);
        roster.close();
    });
}

/// The parts together: resource, scheduler, pool and shutdown.
#[test]
fn handed_off_tasks_run_when_pool_shuts_down() {
    model(1, || {
        let scheduler = Scheduler::builder()
            .workers(1)
            .capture_limit(1)
            .capture_time(FOREVER)
            .build()
            .unwrap();
        let r = scheduler.resource(0);
        let other = {
            let r = r.clone();
            thread::spawn(move || r.execute(|n| *n += 1).unwrap())
        };
        r.execute(|n| {
            yield_now();
            *n += 1;
        })
        .unwrap();
        other.join().unwrap();
        assert!(scheduler.shutdown(FOREVER));
        assert_eq!(r.into_inner().wait(), Ok(2));
    });
}

/// There are two places and a single thread, which sleeps or is about to sleep. If two pushers find
/// that thread, the thread gets up once and takes one place.
#[test]
fn sleeper_wakes_once_when_two_threads_push() {
    model(2, || {
        let roster = Arc::new(Roster::new(2, 1));
        let sleeper = {
            let roster = Arc::clone(&roster);
            // Admits the only thread that this roster allows, and takes a place for that thread.
            roster.announce();
            roster.rouse(|| true);
            roster.taken();
            thread::spawn(move || {
                let seat = roster.enlist(thread::current());
                assert_eq!(roster.rest(seat, thread::park), Rest::Work);
            })
        };
        let push = |roster: &Roster| {
            roster.announce();
            roster.rouse(|| panic!("there is no seat for a second thread"));
        };
        let other = {
            let roster = Arc::clone(&roster);
            thread::spawn(move || push(&roster))
        };
        push(&roster);
        other.join().unwrap();
        sleeper.join().unwrap();
        assert_eq!((roster.idle(), roster.running()), (0, 1));
    });
}
