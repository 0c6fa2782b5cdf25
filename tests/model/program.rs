//! What programs there are, and how they come about at random.

use proptest::prelude::*;

/// Kinds of schedulers a resource may have; see [`scheduler`].
pub(crate) const SCHEDULERS: usize = 6;

#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) poison: bool,
    pub(crate) pooled: bool,
    pub(crate) capture_limit: usize,
    pub(crate) scheduler: usize,
    pub(crate) levels: u8,
}

/// What the submitter does with a completion.
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

#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub(crate) panics: bool,
    /// Its closure panics when it is dropped unrun.
    pub(crate) brittle: bool,
    /// It gives others so many turns before it ends.
    pub(crate) turns: usize,
    /// Its priority, as far as its resource has so many.
    pub(crate) level: u8,
    /// It expires if it has not started after so many microseconds.
    pub(crate) timeout: Option<u64>,
    pub(crate) nested: Vec<Op>,
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Submit(Fate, Task),
    TrySubmit(Fate, Task),
    Execute(Task),
    With(Task),
    CancelPending,
    Heal,
    Close,
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
    /// Phase by phase, thread by thread; a barrier lies between phases.
    pub(crate) phases: Vec<Vec<Vec<Op>>>,
    /// Nobody keeps a handle for later: the value goes with the last task.
    pub(crate) let_go: bool,
}

pub(crate) fn setup() -> impl Strategy<Value = Setup> {
    (
        any::<bool>(),
        prop::bool::weighted(0.3),
        1..12_usize,
        0..SCHEDULERS,
        1..=3_u8,
    )
        .prop_map(|(poison, pooled, capture_limit, scheduler, levels)| Setup {
            poison,
            pooled,
            capture_limit,
            scheduler,
            levels,
        })
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
        1 => Just(Kind::CancelPending),
        2 => Just(Kind::Heal),
        1 => prop::bool::weighted(0.6)
            .prop_map(|close| if close { Kind::Close } else { Kind::DropHandle }),
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
    (setups, phases, prop::bool::weighted(0.2)).prop_map(|(setups, phases, let_go)| Program {
        setups,
        phases,
        let_go,
    })
}
