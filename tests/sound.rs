#![cfg(not(any(captor_loom, captor_shuttle)))]
//! Unusual types work: zero-sized, huge, highly aligned, neither `Sync` nor cloneable. The tests
//! also pin which types are `Send`, `Sync` and `Unpin`.

mod common;

use captor::{
    BuildError, Closed, Completion, Dispatch, HealError, Job, Panic, PanicPolicy, Permit, Reserve,
    ReserveError, Resource, ResourceBuilder, ResourceStats, Scheduler, SchedulerBuilder,
    SchedulerStats, SubmitError, TaskBuilder, TaskError, TrySubmitError, WeakResource,
};
use common::{Drops, hold, outcome};
use std::cell::{Cell, RefCell};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::rc::Rc;
use std::thread;

fn is_send<T: Send>() {}
fn is_sync<T: Sync>() {}
fn is_unpin<T: Unpin>() {}
fn is_static<T: 'static>() {}

/// Fails to compile if the type has the trait, because the call of `answer` is then ambiguous.
macro_rules! assert_not {
    ($type:ty: $($bound:path),+) => {
        const _: fn() = || {
            trait Ambiguous<A> {
                fn answer() {}
            }
            impl<T: ?Sized> Ambiguous<()> for T {}
            $({
                struct Has;
                impl<T: ?Sized + $bound> Ambiguous<Has> for T {}
            })+
            let _ = <$type as Ambiguous<_>>::answer;
        };
    };
}

#[test]
fn public_types_are_send_sync_and_unpin() {
    type NotSync = Cell<i32>;
    type NotUnpin = std::marker::PhantomPinned;

    is_send::<Resource<NotSync>>();
    is_sync::<Resource<NotSync>>();
    is_unpin::<Resource<NotUnpin>>();
    is_send::<WeakResource<NotSync>>();
    is_sync::<WeakResource<NotSync>>();
    is_unpin::<WeakResource<NotUnpin>>();
    is_send::<TaskBuilder<'_, NotSync>>();
    is_sync::<TaskBuilder<'_, NotSync>>();

    // A result that may move to another thread, but not be shared.
    is_send::<Completion<NotSync>>();
    is_sync::<Completion<i32>>();
    is_unpin::<Completion<NotUnpin>>();
    is_send::<Closed>();
    is_sync::<Closed>();
    is_unpin::<Closed>();

    is_send::<Permit<NotSync>>();
    is_sync::<Permit<NotSync>>();
    is_send::<Reserve<NotSync>>();
    is_unpin::<Reserve<NotUnpin>>();
    is_static::<Reserve<i32>>();

    is_send::<Scheduler>();
    is_sync::<Scheduler>();
    is_unpin::<Scheduler>();
    is_send::<Job>();
    is_send::<SchedulerBuilder>();
    is_send::<ResourceBuilder>();
    is_sync::<ResourceBuilder>();

    // Errors fit into `Box<dyn Error + Send + Sync + 'static>`.
    is_send::<TaskError>();
    is_sync::<TaskError>();
    is_static::<TaskError>();
    is_send::<Panic>();
    is_sync::<Panic>();
    is_send::<HealError>();
    is_sync::<HealError>();
    is_send::<SubmitError>();
    is_sync::<SubmitError>();
    is_send::<TrySubmitError<NotSync>>();
    is_send::<ReserveError>();
    is_sync::<ReserveError>();
    is_send::<BuildError>();
    is_sync::<BuildError>();
    is_send::<ResourceStats>();
    is_sync::<SchedulerStats>();
    is_sync::<Dispatch>();
    is_sync::<PanicPolicy>();

    fn is_unwind_safe<T: UnwindSafe + RefUnwindSafe>() {}
    is_unwind_safe::<Resource<RefCell<i32>>>();
}

assert_not!(Resource<Rc<()>>: Send, Sync);
assert_not!(WeakResource<Rc<()>>: Send, Sync);
assert_not!(Permit<Rc<()>>: Send, Sync);
assert_not!(Reserve<Rc<()>>: Send, Sync);
assert_not!(Completion<Rc<()>>: Send, Sync);
assert_not!(Completion<Cell<i32>>: Sync);

#[test]
fn errors_implement_error_and_display() {
    fn boxed(error: impl std::error::Error + Send + Sync + 'static) -> String {
        let error: Box<dyn std::error::Error + Send + Sync> = Box::new(error);
        error.to_string()
    }
    for text in [
        boxed(TaskError::Closed),
        boxed(SubmitError::Closed),
        boxed(TrySubmitError::Closed(|_: &mut i32| ())),
        boxed(HealError::NotPoisoned),
        boxed(BuildError::ThreadName),
    ] {
        assert!(!text.is_empty() && !text.ends_with('.'), "{text}");
    }
    assert_eq!(TaskError::from(SubmitError::Full), TaskError::Full);
    let debug = format!("{:?}", TrySubmitError::Full(|_: &mut i32| ()));
    assert_eq!(debug, "Full(..)");
}

#[test]
fn zero_sized_values_work() {
    let unit = Resource::new(());
    assert_eq!(unit.with(|()| 1), Ok(1));
    struct Nothing;
    let drops = Drops::new();
    let r = Resource::new(Nothing);
    let held = hold(&r);
    let tag = drops.counted();
    let queued = r.submit(move |Nothing| drop(tag));
    held.release();
    assert_eq!(outcome(queued), Ok(()));
    assert_eq!(drops.count(), 1);
    let array = Resource::new([(); 5]);
    assert_eq!(array.with(|a| a.len()), Ok(5));
}

#[test]
fn zero_sized_closures_and_results_work() {
    fn nothing(_: &mut i32) {}
    let r = Resource::new(0);
    let held = hold(&r);
    let queued: Vec<_> = (0..10).map(|_| r.submit(nothing)).collect();
    held.release();
    for task in queued {
        assert_eq!(outcome(task), Ok(()));
    }
}

#[test]
fn aligned_values_stay_aligned() {
    #[repr(align(512))]
    #[derive(Clone, Copy, PartialEq, Debug)]
    struct Aligned(u8);
    for dispatch in [Dispatch::Inline, Dispatch::Pool] {
        let r = Resource::builder()
            .dispatch(dispatch)
            .build(Aligned(7))
            .unwrap();
        let held = hold(&r);
        let input = Aligned(9);
        let queued = r.submit(move |value| {
            let aligned = [&raw const *value, &raw const input]
                .iter()
                .all(|at| at.addr() % 512 == 0);
            value.0 += input.0;
            (*value, aligned)
        });
        held.release();
        let (value, aligned) = outcome(queued).unwrap();
        assert!(aligned);
        assert_eq!(value, Aligned(16));
        assert_eq!(r.with(|v| *v), Ok(Aligned(16)));
    }
}

fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().map(|b| u64::from(*b)).sum()
}

#[test]
fn boxed_mebibyte_closures_work() {
    let r = Resource::new(0_u64);
    let big: Box<[u8]> = vec![1; 1 << 20].into();
    let again = big.clone();
    assert_eq!(r.submit(move |_| sum(&big)).wait(), Ok(1 << 20));
    let held = hold(&r);
    let queued = r.submit(move |_| again);
    held.release();
    assert_eq!(sum(&outcome(queued).unwrap()), 1 << 20);
}

#[test]
fn inline_64_kib_closures_and_results_work() {
    // Unoptimised code copies each array many times over, on the stack.
    let big_stack = thread::Builder::new().stack_size(32 << 20);
    let test = big_stack.spawn(|| {
        in_place(Dispatch::Inline);
        in_place(Dispatch::Pool);
    });
    common::join(test.unwrap()).unwrap();
}

fn in_place(dispatch: Dispatch) {
    const SIZE: usize = 64 << 10;
    let builder = Resource::builder().dispatch(dispatch);
    let r = builder.build([2_u8; SIZE]).unwrap();
    let held = hold(&r);
    let big = [1_u8; SIZE];
    let queued = r.submit(move |value| std::mem::replace(value, big));
    let cancelled = r.submit(move |_| sum(&big));
    assert!(cancelled.cancel());
    r.execute(move |_| {
        std::hint::black_box(big);
    })
    .unwrap();
    held.release();
    assert_eq!(sum(&outcome(queued).unwrap()), 2 << 16);
    assert_eq!(r.with(|v| sum(v)), Ok(1 << 16));
    r.close();
    let back = r.try_submit(move |_| sum(&big)).unwrap_err();
    let mut unused = [0; SIZE];
    assert_eq!(back.into_inner()(&mut unused), 1 << 16);
}

#[test]
fn unsync_values_work_across_threads() {
    let r = Resource::new(Cell::new(0));
    thread::scope(|s| {
        for _ in 0..4 {
            s.spawn(|| {
                for _ in 0..1_000 {
                    r.with(|cell| cell.set(cell.get() + 1)).unwrap();
                }
            });
        }
    });
    assert_eq!(r.with(|cell| cell.get()), Ok(4_000));
}

#[test]
fn unsync_results_cross_threads() {
    let r = Resource::new(5);
    let held = hold(&r);
    let task = r.submit(|n| RefCell::new(*n));
    let elsewhere = thread::spawn(move || outcome(task).map(|cell| *cell.borrow()));
    held.release();
    assert_eq!(common::join(elsewhere).unwrap(), Ok(5));
}

#[test]
fn value_may_hold_weak_handle_of_own_resource() {
    #[derive(Default)]
    struct Node {
        me: Option<WeakResource<Node>>,
        hits: u32,
    }
    let r = Resource::<Node>::default();
    let me = r.downgrade();
    r.with(|node| node.me = Some(me)).unwrap();
    r.with(|node| {
        let me = node.me.as_ref().and_then(WeakResource::upgrade).unwrap();
        me.execute(|node| node.hits += 1).unwrap();
    })
    .unwrap();
    assert_eq!(r.with(|node| node.hits), Ok(1));
}
