#![cfg(not(any(captor_loom, captor_shuttle)))]
//! Levels of priority: which task runs next, how levels age, which levels are refused.

mod common;

use captor::{
    Ageing, BuildError, Completion, Dispatch, Resource, ResourceBuilder, SubmitError, TaskError,
    TrySubmitError,
};
use common::{Drops, Gate, Held, hold, outcome, poll_pending, waker_that, within_deadline};
use proptest::prelude::*;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

/// The tasks that ran, in order.
type Log = Vec<u32>;

fn levels(levels: u16) -> ResourceBuilder {
    // The holder itself runs all tasks that were queued behind its own.
    Resource::builder()
        .priorities(levels)
        .capture_limit(usize::MAX)
        .capture_time(std::time::Duration::MAX)
}

fn busy(builder: ResourceBuilder) -> (Resource<Log>, Held) {
    let r = builder.build(Vec::new()).unwrap();
    let held = hold(&r);
    (r, held)
}

fn push(r: &Resource<Log>, level: u8, n: u32) {
    r.task()
        .priority(level)
        .execute(move |log| log.push(n))
        .unwrap();
}

fn log_of(r: &Resource<Log>) -> Log {
    r.with(|log| log.clone()).unwrap()
}

#[test]
fn most_urgent_then_oldest_task_runs_next() {
    for dispatch in [Dispatch::Inline, Dispatch::Pool] {
        let (r, held) = busy(levels(4).dispatch(dispatch));
        for (n, level) in [3, 1, 0, 2, 1, 3, 0].into_iter().enumerate() {
            push(&r, level, n as u32);
        }
        held.release();
        let last = r.task().priority(3).submit(|log: &mut Log| log.clone());
        assert_eq!(outcome(last), Ok(vec![2, 6, 1, 4, 3, 0, 5]), "{dispatch:?}");
    }
}

#[test]
fn urgent_task_queued_during_run_is_next() {
    let (r, held) = busy(levels(2));
    let inner = r.clone();
    r.task()
        .priority(1)
        .execute(move |log| {
            log.push(1);
            push(&inner, 0, 0);
        })
        .unwrap();
    push(&r, 1, 2);
    held.release();
    assert_eq!(log_of(&r), [1, 0, 2]);
}

#[test]
fn any_level_runs_immediately_when_idle() {
    let r = levels(3).build(Log::new()).unwrap();
    assert!(r.task().priority(2).submit(|_| ()).is_finished());
    assert_eq!(r.task().priority(2).with(|_| 7), Ok(7));
}

#[test]
fn default_level_is_middle_unless_set() {
    for (builder, default) in [
        (levels(2), 1),
        (levels(3), 1),
        (levels(256), 128),
        (levels(5).default_priority(0), 0),
        (levels(5).default_priority(4), 4),
    ] {
        let text = format!("{builder:?}");
        let (r, held) = busy(builder);
        if let Some(less) = u8::checked_add(default, 1) {
            // Refused, if `default` is the last level.
            let _ = r.task().priority(less).execute(|log: &mut Log| log.push(3));
        }
        r.execute(|log| log.push(1)).unwrap();
        push(&r, default, 2);
        if default > 0 {
            push(&r, default - 1, 0);
        }
        held.release();
        let log: Log = log_of(&r).into_iter().filter(|n| *n < 3).collect();
        let expected: &[u32] = if default > 0 { &[0, 1, 2] } else { &[1, 2] };
        assert_eq!(log, expected, "{text}");
    }
}

#[test]
fn level_out_of_range_is_refused_with_range() {
    let r = levels(3).build(Log::new()).unwrap();
    let text = "the task's priority is out of range: the resource has priorities 0 to 2";
    let drops = Drops::new();
    for busy in [false, true] {
        let held = busy.then(|| hold(&r));
        let before = r.stats();
        let (one, two, three) = (drops.counted(), drops.counted(), drops.counted());
        let submitted = r.task().priority(3).submit(|_| drop(one)).wait();
        assert_eq!(submitted.unwrap_err().to_string(), text);
        let executed = r.task().priority(255).execute(|_| drop(two)).unwrap_err();
        assert_eq!(executed.to_string(), text);
        let with = r.task().priority(3).with(|_| drop(three));
        assert_eq!(with.unwrap_err().to_string(), text);
        let tried = r.task().priority(3).try_submit(|_: &mut Log| 5);
        let Err(TrySubmitError::NoSuchPriority(f, range)) = tried else {
            panic!("the level should have been refused");
        };
        assert_eq!(f(&mut Vec::new()), 5, "the closure comes back");
        assert_eq!(range.least_urgent(), 2);
        let after = r.stats();
        assert_eq!(after.rejected - before.rejected, 4);
        assert_eq!(after.submitted, before.submitted);
        drop(held);
    }
    assert_eq!(drops.count(), 6, "refused closures are dropped");
    let only = Resource::new(());
    assert_eq!(only.task().priority(0).with(|_| ()), Ok(()));
    let error = only.task().priority(1).execute(|_| ()).unwrap_err();
    assert!(
        error.to_string().ends_with("has priority 0 only"),
        "{error}"
    );
    assert_eq!(TaskError::from(error), TaskError::from(error));
    assert_ne!(
        TaskError::from(error),
        TaskError::from(r.task().priority(9).execute(|_| ()).unwrap_err())
    );
}

#[test]
fn build_fails_when_level_settings_out_of_range() {
    let error = |builder: ResourceBuilder| builder.build(()).unwrap_err();
    for given in [0, 257, u16::MAX] {
        assert_eq!(
            error(levels(given)),
            BuildError::Priorities { given, max: 256 }
        );
    }
    for (builder, given, text) in [
        (levels(2), 2, "priorities 0 to 1"),
        (Resource::builder(), 1, "priority 0 only"),
    ] {
        let error = error(builder.default_priority(given)).to_string();
        assert!(error.contains(text) && error.contains(&given.to_string()));
    }
    for given in [0, 1] {
        assert_eq!(
            error(levels(2).ageing(Ageing::Every(given))),
            BuildError::Ageing { given }
        );
    }
    assert!(levels(256).build(()).is_ok() && levels(1).build(()).is_ok());
}

#[test]
fn all_256_levels_run_in_order() {
    let (r, held) = busy(levels(256).ageing(Ageing::Strict));
    for level in (0..=255).rev() {
        push(&r, level, level.into());
    }
    held.release();
    assert!(log_of(&r).into_iter().eq(0..256));
}

/// Runs a task that submits itself again, `left` times.
fn flood(r: &Resource<Log>, level: u8, left: u32) {
    let again = r.clone();
    let task = r.task().priority(level);
    let queued = task.execute(move |log| {
        log.push(level.into());
        if left > 0 {
            flood(&again, level, left - 1);
        }
    });
    queued.unwrap();
}

#[test]
fn lowest_level_progresses_during_flood() {
    const LEVELS: u8 = 4;
    for every in [2, 5] {
        let (r, held) = busy(levels(LEVELS.into()).ageing(Ageing::Every(every)));
        for level in 0..LEVELS - 1 {
            flood(&r, level, 300);
        }
        for _ in 0..3 {
            push(&r, LEVELS - 1, 99);
        }
        held.release();
        let log = log_of(&r);
        let at: Vec<_> = (0..log.len()).filter(|at| log[*at] == 99).collect();
        let bound = (every * u32::from(LEVELS - 1)) as usize;
        assert!(at[0] < bound, "{at:?}, bound {bound}");
        assert!(at.windows(2).all(|w| w[1] - w[0] <= bound), "{at:?}");
    }
}

/// The middle level is the most urgent level whenever the lowest gets its turn. The middle level
/// has a share too.
#[test]
fn middle_level_gets_share_during_flood() {
    let (r, held) = busy(levels(3).ageing(Ageing::Every(2)));
    flood(&r, 0, 200);
    flood(&r, 1, 60);
    flood(&r, 2, 60);
    held.release();
    let log = log_of(&r);
    let count = |level| log[..120].iter().filter(|n| **n == level).count();
    assert_eq!((count(0), count(1), count(2)), (60, 30, 30));
}

#[test]
fn strict_ageing_lets_flood_starve_lower_level() {
    let (r, held) = busy(levels(2).ageing(Ageing::Strict));
    push(&r, 1, 99);
    flood(&r, 0, 500);
    held.release();
    let log = log_of(&r);
    assert_eq!(log.iter().position(|n| *n == 99), Some(501));
}

#[test]
fn cancel_pending_cancels_every_level() {
    let (r, held) = busy(levels(3));
    let drops = Drops::new();
    let tasks: Vec<Completion<_>> = (0..9)
        .map(|n| {
            let drop = drops.counted();
            r.task().priority(n % 3).submit(move |_| {
                let _ = &drop;
            })
        })
        .collect();
    assert!(tasks[4].cancel());
    assert_eq!(r.cancel_pending(), 8);
    assert_eq!(drops.count(), 9);
    for task in tasks {
        assert_eq!(outcome(task), Err(TaskError::Cancelled));
    }
    push(&r, 2, 1);
    held.release();
    assert_eq!(log_of(&r), [1]);
    let stats = r.stats();
    assert_eq!((stats.cancelled, stats.outstanding), (9, 0));
}

#[test]
fn accepted_tasks_run_by_level_after_close() {
    let (r, held) = busy(levels(2));
    let drops = Drops::new();
    let (send, receive) = mpsc::channel();
    for level in [1, 0] {
        let (send, counted) = (send.clone(), drops.counted());
        let task = r.task().priority(level).submit(move |_| {
            send.send(level).unwrap();
            drop(counted);
        });
        drop(task);
    }
    r.close();
    assert_eq!(
        r.task().priority(0).execute(|_| ()),
        Err(SubmitError::Closed)
    );
    held.release();
    assert!(receive.iter().take(2).eq([0, 1]));
    assert_eq!(drops.count(), 2);
}

/// The submitter's own task comes after more urgent tasks. The submitter runs these tasks up to its
/// limit, and hands off the rest.
#[test]
fn urgent_tasks_capture_submitter_up_to_limit() {
    let builder = Resource::builder().priorities(2).capture_limit(3);
    let (r, held) = busy(builder);
    for n in 0..6 {
        push(&r, 0, n);
    }
    let low = r.task().priority(1).submit(|log: &mut Log| log.len());
    held.release();
    assert_eq!(outcome(low), Ok(6));
    assert!(r.stats().handoffs > 0);
}

/// A thread that blocks for a task of low urgency takes the role. Its task stays behind a steady
/// stream of more urgent tasks.
#[test]
fn blocked_submitter_returns_during_urgent_flood() {
    within_deadline(|| {
        let r = Resource::builder().priorities(2).build(0_u64).unwrap();
        let stop = Gate::new();
        let floods: Vec<_> = (0..2)
            .map(|_| {
                let (r, stop) = (r.clone(), stop.clone());
                thread::spawn(move || {
                    while !stop.is_open() {
                        r.task().priority(0).execute(|n| *n += 1).unwrap();
                    }
                })
            })
            .collect();
        for _ in 0..2_000 {
            r.task().priority(1).with(|n| *n += 1).unwrap();
        }
        stop.open();
        floods.into_iter().for_each(|f| f.join().unwrap());
    });
}

/// The documented rule.
struct Model {
    queued: Vec<(u8, u32)>,
    every: u32,
    taken: u32,
    turn: u8,
}

impl Model {
    fn next(&mut self) -> Option<u32> {
        let most_urgent = self.queued.iter().map(|(level, _)| *level).min()?;
        self.taken += 1;
        let mut level = most_urgent;
        if self.taken == self.every {
            self.taken = 0;
            let others = |from: u8| {
                let levels = self.queued.iter().map(|(level, _)| *level);
                levels.filter(|l| *l > 0 && *l >= from).min()
            };
            level = others(self.turn.saturating_add(1))
                .or(others(1))
                .unwrap_or(0);
            self.turn = level;
        }
        let at = self.queued.iter().position(|(l, _)| *l == level)?;
        Some(self.queued.remove(at).1)
    }
}

/// A task, and the tasks that it submits when it runs.
#[derive(Clone, Debug)]
struct Task {
    level: u8,
    submits: Vec<Task>,
}

fn task(levels: u8) -> impl Strategy<Value = Task> {
    let leaf = (0..levels).prop_map(|level| Task {
        level,
        submits: Vec::new(),
    });
    leaf.prop_recursive(3, 40, 4, move |inner| {
        (0..levels, prop::collection::vec(inner, 0..4))
            .prop_map(|(level, submits)| Task { level, submits })
    })
}

type Plan = Arc<Mutex<Vec<Vec<Task>>>>;

/// Submits the task. Its number is the count of tasks submitted before.
fn submit(r: &Resource<Log>, plan: &Plan, task: &Task) {
    let n = {
        let mut plan = plan.lock().unwrap();
        plan.push(task.submits.clone());
        plan.len() as u32 - 1
    };
    let (again, all) = (r.clone(), Arc::clone(plan));
    r.task()
        .priority(task.level)
        .execute(move |log| {
            log.push(n);
            let submits = all.lock().unwrap()[n as usize].clone();
            submits.iter().for_each(|task| submit(&again, &all, task));
        })
        .unwrap();
}

proptest! {
    #[test]
    fn random_program_runs_in_documented_order(
        (levels_, every, tasks) in (2..6_u8, 0..6_u32).prop_flat_map(|(levels, every)| {
            (Just(levels), Just(every), prop::collection::vec(task(levels), 0..30))
        })
    ) {
        let ageing = match every {
            0 | 1 => Ageing::Strict,
            n => Ageing::Every(n),
        };
        let (r, held) = busy(levels(levels_.into()).ageing(ageing));
        let plan = Plan::default();
        tasks.iter().for_each(|task| submit(&r, &plan, task));
        held.release();
        let ran = log_of(&r);

        let every = if every < 2 { u32::MAX } else { every };
        let mut model = Model { queued: Vec::new(), every, taken: 0, turn: 0 };
        let mut count = 0;
        let mut submits = Vec::new();
        let mut queue = |model: &mut Model, submits: &mut Vec<Vec<Task>>, tasks: &[Task]| {
            for task in tasks {
                model.queued.push((task.level, count));
                submits.push(task.submits.clone());
                count += 1;
            }
        };
        queue(&mut model, &mut submits, &tasks);
        let mut expected = Vec::new();
        while let Some(n) = model.next() {
            expected.push(n);
            let more = submits[n as usize].clone();
            queue(&mut model, &mut submits, &more);
        }
        prop_assert_eq!(ran, expected);
    }
}

/// The waiter of a task is woken before the holder chooses the next task.
#[test]
fn urgent_task_from_waker_runs_next() {
    let (r, held) = busy(levels(2));
    let mut first = r.task().priority(0).submit(|log| log.push(9));
    let inside = r.clone();
    poll_pending(&mut first, &waker_that(move || push(&inside, 0, 0)));
    push(&r, 1, 1);
    held.release();
    assert_eq!(log_of(&r), [9, 0, 1]);
}

#[test]
fn cancelled_tasks_use_up_no_ageing_turn() {
    let (r, held) = busy(levels(2).ageing(Ageing::Every(4)));
    for n in 0..100 {
        push(&r, 0, n);
    }
    for _ in 0..100 {
        assert!(r.task().priority(1).submit(|_| ()).cancel());
    }
    push(&r, 1, 1000);
    held.release();
    let at = log_of(&r).iter().position(|n| *n == 1000).unwrap();
    assert!(at <= 4, "the task ran after {at} urgent tasks");
}
