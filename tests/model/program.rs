//! Programs, and the strategies that make them at random.

use crate::steps::{AsyncTask, BELLS, Ringing, Source, async_task, ringing, source};
use proptest::prelude::*;

/// The number of scheduler kinds; see `threads`.
pub(crate) const SCHEDULERS: usize = 6;

#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) poison: bool,
    pub(crate) pooled: bool,
    pub(crate) capture_limit: usize,
    pub(crate) scheduler: usize,
    pub(crate) levels: u8,
    pub(crate) capacity: Option<usize>,
}

impl Setup {
    /// The priority of tasks without a priority of their own.
    pub(crate) fn middle(&self) -> u8 {
        (self.levels / 2).min(self.levels - 1)
    }
}

/// The use that the submitter makes of a completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Wait,
    WaitTimeout,
    Await,
    Drop,
    CancelOnDrop,
    Cancel,
    Keep,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Task {
    pub(crate) panics: bool,
    /// The closure panics if dropped unrun.
    pub(crate) brittle: bool,
    /// How many times the task yields its thread before its end.
    pub(crate) turns: usize,
    /// The priority, reduced to the levels of the resource.
    pub(crate) level: u8,
    /// The task expires if it has not started after this many microseconds.
    pub(crate) timeout: Option<u64>,
    pub(crate) nested: Vec<Op>,
}

/// The way in which room is reserved.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reserving {
    Try,
    /// Waits this many microseconds. Does not wait inside tasks.
    Timeout(u64),
    /// Polls the future once, and then drops the future.
    PollOnce,
}

/// The use that is made of a permit.
#[derive(Clone, Debug)]
pub(crate) enum Use {
    Submit(Fate, Task),
    Execute(Task),
    Drop,
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Submit(Fate, Task),
    TrySubmit(Fate, Task),
    Execute(Task),
    With(Task),
    Reserve(Reserving, Use),
    /// A task, and its continuation on another resource.
    Then(Fate, Task, usize, Task),
    Batch(Fate, Vec<Task>),
    Async(Fate, AsyncTask),
    /// A task that is queued when a future resolves.
    When(Fate, Source, Task),
    /// A job that submits these tasks, one after the other.
    Steps(Fate, Vec<Task>),
    /// Rings a bell for async tasks.
    Ring(usize, Ringing),
    /// Uses all kept wakers.
    WakeKept,
    Fire,
    OnIdle,
    /// Cancels a kept completion.
    CancelKept(usize),
    CancelPending,
    Heal,
    Close,
    CloseNow,
    DropHandle,
}

#[derive(Clone, Debug)]
pub(crate) struct Op {
    pub(crate) resource: usize,
    pub(crate) kind: Kind,
}

#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) setups: Vec<Setup>,
    /// By phase, then by thread. A barrier lies between phases.
    pub(crate) phases: Vec<Vec<Vec<Op>>>,
    /// No handle is kept for later, so the last task drops the value.
    pub(crate) drop_handles: bool,
    /// The values are taken out at the end.
    pub(crate) take: bool,
}

pub(crate) fn setup() -> impl Strategy<Value = Setup> {
    (
        any::<bool>(),
        prop::bool::weighted(0.3),
        1..12_usize,
        0..SCHEDULERS,
        1..=3_u8,
        capacity(),
    )
        .prop_map(
            |(poison, pooled, capture_limit, scheduler, levels, capacity)| Setup {
                poison,
                pooled,
                capture_limit,
                scheduler,
                levels,
                capacity,
            },
        )
}

fn capacity() -> impl Strategy<Value = Option<usize>> {
    prop_oneof![Just(None), (1..6_usize).prop_map(Some)]
}

/// Setups of resources whose tasks all run on one thread.
pub(crate) fn plain_setup() -> impl Strategy<Value = Setup> {
    (any::<bool>(), capacity()).prop_map(|(poison, capacity)| Setup {
        poison,
        pooled: false,
        capture_limit: usize::MAX,
        scheduler: 0,
        levels: 1,
        capacity,
    })
}

fn reserving() -> impl Strategy<Value = Reserving> {
    prop_oneof![
        Just(Reserving::Try),
        (0..200_u64).prop_map(Reserving::Timeout),
        Just(Reserving::PollOnce),
    ]
}

fn use_of_permit(depth: u32) -> impl Strategy<Value = Use> {
    prop_oneof![
        2 => (fate(), task(depth)).prop_map(|(f, t)| Use::Submit(f, t)),
        2 => task(depth).prop_map(Use::Execute),
        1 => Just(Use::Drop),
    ]
}

pub(crate) fn fate() -> impl Strategy<Value = Fate> {
    prop::sample::select(vec![
        Fate::Wait,
        Fate::WaitTimeout,
        Fate::Await,
        Fate::Drop,
        Fate::CancelOnDrop,
        Fate::Cancel,
        Fate::Keep,
    ])
}

pub(crate) fn task(depth: u32) -> BoxedStrategy<Task> {
    let nested = match depth {
        0 => Just(Vec::new()).boxed(),
        _ => prop_oneof![
            2 => Just(Vec::new()),
            1 => prop::collection::vec(op(depth - 1), 0..5),
        ]
        .boxed(),
    };
    let (panics, brittle) = (prop::bool::weighted(0.1), prop::bool::weighted(0.1));
    let turns = prop_oneof![4 => Just(0), 1 => 1..20_usize];
    let timeout = prop_oneof![5 => Just(None), 1 => (0..100_u64).prop_map(Some)];
    (panics, brittle, turns, 0..3_u8, timeout, nested)
        .prop_map(|(panics, brittle, turns, level, timeout, nested)| Task {
            panics,
            brittle,
            turns,
            level,
            timeout,
            nested,
        })
        .boxed()
}

pub(crate) fn op(depth: u32) -> BoxedStrategy<Op> {
    let kind = prop_oneof![
        8 => (fate(), task(depth)).prop_map(|(f, t)| Kind::Submit(f, t)),
        3 => (fate(), task(depth)).prop_map(|(f, t)| Kind::TrySubmit(f, t)),
        8 => task(depth).prop_map(Kind::Execute),
        4 => task(depth).prop_map(Kind::With),
        4 => (reserving(), use_of_permit(depth)).prop_map(|(r, u)| Kind::Reserve(r, u)),
        4 => (fate(), task(depth), 0..3_usize, task(depth))
            .prop_map(|(f, first, other, next)| Kind::Then(f, first, other, next)),
        3 => (fate(), prop::collection::vec(task(depth), 1..5))
            .prop_map(|(f, tasks)| Kind::Batch(f, tasks)),
        8 => (fate(), async_task(depth)).prop_map(|(f, t)| Kind::Async(f, t)),
        3 => (fate(), source(), task(depth)).prop_map(|(f, s, t)| Kind::When(f, s, t)),
        2 => (fate(), prop::collection::vec(task(0), 0..4)).prop_map(|(f, t)| Kind::Steps(f, t)),
        5 => (0..BELLS, ringing()).prop_map(|(bell, how)| Kind::Ring(bell, how)),
        1 => Just(Kind::WakeKept),
        3 => Just(Kind::Fire),
        1 => Just(Kind::OnIdle),
        2 => Just(Kind::Heal),
        3 => (0..3_usize).prop_map(Kind::CancelKept),
        2 => prop::sample::select(vec![
            Kind::CancelPending,
            Kind::CancelPending,
            Kind::Close,
            Kind::CloseNow,
            Kind::DropHandle,
        ]),
    ];
    (0..3_usize, kind)
        .prop_map(|(resource, kind)| Op { resource, kind })
        .boxed()
}

pub(crate) fn program() -> impl Strategy<Value = Program> {
    let phases = (2..=4_usize).prop_flat_map(|threads| {
        let ops = prop::collection::vec(op(2), 0..16);
        prop::collection::vec(prop::collection::vec(ops, threads), 1..4)
    });
    let setups = prop::collection::vec(setup(), 1..=3);
    let (drop_handles, take) = (prop::bool::weighted(0.2), prop::bool::weighted(0.3));
    (setups, phases, drop_handles, take).prop_map(|(setups, phases, drop_handles, take)| Program {
        setups,
        phases,
        drop_handles,
        take,
    })
}
