//! The steps of async tasks, and the events that async tasks wait for.

use crate::program::{Op, Task, op, task};
use proptest::prelude::*;

/// The number of bells that are rung.
pub(crate) const BELLS: usize = 2;

#[derive(Clone, Debug)]
pub(crate) struct AsyncTask {
    /// The task's first part, before its steps, and its end after them. If the task is brittle, its
    /// future panics when it is dropped before the end.
    pub(crate) task: Task,
    pub(crate) steps: Vec<Step>,
    /// A part of the future panics when it is dropped, at the end too.
    pub(crate) spills: bool,
    /// The task holds a token that says whether to stop.
    pub(crate) asks: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Step {
    Do(Op),
    /// Wakes itself and suspends.
    Yield(Waking),
    /// Waits for a bell. If `once`, the task leaves a waker there only at the first poll.
    Hear {
        bell: usize,
        once: bool,
    },
    /// Awaits a task of this resource, which may be its own.
    Await(usize, Task),
    /// Suspends and leaves its waker nowhere.
    SuspendForEver,
    /// Waits until its deadline passes, if the task has a deadline.
    Outlast,
    Panic,
}

/// The way in which a task wakes itself.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Waking {
    ByRef,
    ByValue,
    Twice,
    /// Wakes by reference, and a waker is kept.
    Kept,
}

/// The use that is made of the wakers left at a bell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ringing {
    Once,
    Twice,
    /// The wakers are used and then kept.
    Kept,
    /// The wakers are used, but the bell is not rung.
    Astray,
    /// The wakers are dropped, and the bell is not rung.
    Hush,
}

/// The future of a task that is queued when the future resolves.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source {
    Ready,
    Hears(usize),
    Panics,
}

pub(crate) fn ringing() -> impl Strategy<Value = Ringing> {
    prop_oneof![
        4 => Just(Ringing::Once),
        1 => Just(Ringing::Twice),
        2 => Just(Ringing::Kept),
        1 => Just(Ringing::Astray),
        1 => Just(Ringing::Hush),
    ]
}

pub(crate) fn source() -> impl Strategy<Value = Source> {
    prop_oneof![
        2 => Just(Source::Ready),
        6 => (0..BELLS).prop_map(Source::Hears),
        1 => Just(Source::Panics),
    ]
}

fn step(depth: u32) -> BoxedStrategy<Step> {
    let waking = prop::sample::select(vec![
        Waking::ByRef,
        Waking::ByValue,
        Waking::Twice,
        Waking::Kept,
    ]);
    let hear =
        (0..BELLS, prop::bool::weighted(0.2)).prop_map(|(bell, once)| Step::Hear { bell, once });
    let waits = prop_oneof![
        6 => waking.prop_map(Step::Yield),
        8 => hear,
        4 => (0..3_usize, task(0)).prop_map(|(resource, task)| Step::Await(resource, task)),
        1 => Just(Step::SuspendForEver),
        2 => Just(Step::Outlast),
        1 => Just(Step::Panic),
    ];
    match depth {
        0 => waits.boxed(),
        _ => prop_oneof![3 => waits, 1 => op(depth - 1).prop_map(Step::Do)].boxed(),
    }
}

pub(crate) fn async_task(depth: u32) -> BoxedStrategy<AsyncTask> {
    let steps = prop::collection::vec(step(depth), 0..5);
    let (spills, asks) = (prop::bool::weighted(0.1), prop::bool::weighted(0.3));
    // Long enough to start, and short enough to pass while the task waits.
    let timeout = prop_oneof![3 => Just(None), 1 => (0..2000_u64).prop_map(Some)];
    (task(depth), timeout, steps, spills, asks)
        .prop_map(|(task, timeout, steps, spills, asks)| AsyncTask {
            // Only one of the two panics: the second would be a panic inside the first.
            spills: spills && !task.brittle,
            task: Task { timeout, ..task },
            steps,
            asks,
        })
        .boxed()
}
