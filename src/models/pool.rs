//! The pool: nobody sleeps while a job waits, and it ends when it is told to.

use super::{FOREVER, Mailbox, model};
use crate::Scheduler;
use crate::pool::roster::{Rest, Roster};
use crate::sync::{Arc, thread, yield_now};

/// Works as the pool's threads do, until it is told to end.
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

/// A worker that goes to sleep either sees the job or is woken for it. If it
/// does neither, the pool never ends.
#[test]
fn a_job_comes_while_the_worker_goes_to_sleep() {
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

/// The same without anybody who looks at what is pending: the checker reports
/// a deadlock if a job is left with all asleep.
#[test]
fn two_push_to_one_worker() {
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
fn two_workers_share_what_is_pushed() {
    model(2, || {
        let roster = Arc::new(Roster::new(2, 2));
        let jobs = Mailbox::edgeless();
        push(&roster, &jobs, 1);
        push(&roster, &jobs, 2);
        roster.close();
    });
}

/// All of it together: resource, scheduler, pool, shutdown.
#[test]
fn a_pool_runs_what_is_handed_off_and_ends() {
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

/// Two pushers meet a thread that sleeps, or is about to, while there are two
/// places: it gets up once, for one place.
#[test]
fn two_wake_one_sleeper() {
    model(2, || {
        let roster = Arc::new(Roster::new(2, 1));
        let sleeper = {
            let roster = Arc::clone(&roster);
            // The only thread there may be, with its place.
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
            roster.rouse(|| panic!("there is no seat for another"));
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
