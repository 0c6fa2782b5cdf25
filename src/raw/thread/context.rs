//! Which tasks this thread is inside of: a stack of frames, one per task that
//! is running here, linked through the call stack itself.
//!
//! Entering costs a few stores and no allocation, so it is done for every
//! task; everything that asks (`is_current`, deadlock checks, the nesting
//! limit) walks the frames.

use crate::sync::thread_local_const;
use core::cell::Cell;
use core::ptr;
use core::time::Duration;

/// What a task is called in the log.
pub(crate) type TaskName = Option<&'static str>;

/// A task that runs, to those who ask what runs here.
pub(crate) trait Described {
    fn name(&self) -> TaskName;
    /// Its priority; `None`: what the resource says.
    fn level(&self) -> Option<u8>;
    /// For how long it was queued, if that was noted.
    fn queued_for(&self) -> Option<Duration>;
    /// Through its handle.
    fn was_asked_to_stop(&self) -> bool;
    /// May it wait, and keep its resource meanwhile?
    fn waits(&self) -> bool;
}

/// Identifies a resource: the address of its core.
pub(crate) type Id = *const ();

/// How deep tasks may be nested before one that could run on its submitter is
/// queued for the pool (G6). A level costs one frame of user code and a few
/// hundred bytes of ours.
pub(crate) const MAX_DEPTH: usize = 8;

/// How a thread came to run something for a resource.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Its own task: called, if anything, by the tasks further out.
    Own = 0,
    /// Somebody else's task, to which it only lends itself.
    Lent = 1,
    /// No task but what comes with one, under the role all the same: wakers,
    /// drops of outcomes and of closures.
    Aside = 2,
}

// In this order: what is written of it for a task without attributes lies together.
#[repr(C)]
struct Frame {
    resource: Id,
    outer: *const Frame,
    /// How many tasks this one is inside of, itself included, and what kind it
    /// is: in one word, since it is written for every task.
    depth_and_kind: usize,
    /// The task, if it has anything to say of itself.
    subject: Option<*const (dyn Described + 'static)>,
}

/// In units of which `depth_and_kind` counts the depth.
const LEVEL: usize = 4;

impl Frame {
    #[inline(always)]
    fn kind(&self) -> Kind {
        match self.depth_and_kind % LEVEL {
            0 => Kind::Own,
            1 => Kind::Lent,
            _ => Kind::Aside,
        }
    }
}

/// A task that runs, as its frame knows it.
pub(crate) type Subject<'a> = &'a (dyn Described + 'static);

thread_local_const! {
    static INNERMOST: Cell<*const Frame> = Cell::new(ptr::null());
    static WORK: Cell<*const Work> = Cell::new(ptr::null());
    static DISPATCHING: Cell<bool> = Cell::new(false);
    static ON_BLOCK: Cell<Option<fn(Blocking)>> = Cell::new(None);
}

/// What a worker is told when a task on it blocks in a wait of ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Blocking {
    Starts,
    Ends,
}

/// From now on `hook` is told when this thread blocks in a wait of ours.
pub(crate) fn on_block(hook: fn(Blocking)) {
    ON_BLOCK.with(|h| h.set(Some(hook)));
}

/// Runs `f`, which blocks.
pub(crate) fn block<R>(f: impl FnOnce() -> R) -> R {
    let Some(hook) = ON_BLOCK.with(Cell::get) else {
        return f();
    };
    hook(Blocking::Starts);
    let result = f();
    hook(Blocking::Ends);
    result
}

/// A job that this thread is at work on, and those further out on its stack.
struct Work {
    host: Id,
    outer: *const Work,
}

/// Runs `f`, which works through a job of `host`.
pub(crate) fn work(host: Id, f: impl FnOnce()) {
    /// Goes back to what was, also when `f` unwinds.
    struct Leave(*const Work, bool);
    impl Drop for Leave {
        fn drop(&mut self) {
            WORK.with(|w| w.set(self.0));
            DISPATCHING.with(|d| d.set(self.1));
        }
    }

    let work = Work {
        host,
        outer: WORK.with(Cell::get),
    };
    let _leave = Leave(work.outer, DISPATCHING.with(|d| d.replace(false)));
    WORK.with(|w| w.set(&raw const work));
    f();
}

/// Is this thread at work on a job?
pub(crate) fn is_working() -> bool {
    !WORK.with(Cell::get).is_null()
}

/// Is this thread at work on a job of `host`?
pub(crate) fn works_for(host: Id) -> bool {
    let mut at = WORK.with(Cell::get);
    // SAFETY: null, or a link that `work` keeps on this thread's stack at
    // least until its caller, further in, returns.
    while let Some(work) = unsafe { at.as_ref() } {
        if work.host == host {
            return true;
        }
        at = work.outer;
    }
    false
}

/// Runs `f`, which gives a job to an executor and does not unwind.
pub(crate) fn dispatch(f: impl FnOnce()) {
    let outer = DISPATCHING.with(|d| d.replace(true));
    f();
    DISPATCHING.with(|d| d.set(outer));
}

/// Is this thread in the midst of giving a job to an executor?
pub(crate) fn is_dispatching() -> bool {
    DISPATCHING.with(Cell::get)
}

/// How many tasks this thread is inside of.
#[inline(always)]
pub(crate) fn depth() -> usize {
    let frame = INNERMOST.with(Cell::get);
    if frame.is_null() {
        return 0;
    }
    // SAFETY: frames are linked for as long as `enter` keeps them on the stack.
    unsafe { (*frame).depth_and_kind / LEVEL }
}

/// Runs `f` for `resource`, whose role this thread has.
#[inline(always)]
pub(crate) fn enter<R>(resource: Id, kind: Kind, f: impl FnOnce() -> R) -> R {
    enter_task(resource, kind, None, f)
}

/// Runs `f` for `resource` on a thread that is to run no task: what `f` submits is
/// queued for the pool, as if it were nested as deep as can be.
pub(crate) fn enter_apart<R>(resource: Id, f: impl FnOnce() -> R) -> R {
    enter_at(MAX_DEPTH, resource, Kind::Aside, None, f)
}

/// The same, for `f` which is a task.
#[inline(always)]
pub(crate) fn enter_task<R>(
    resource: Id,
    kind: Kind,
    subject: Option<Subject<'_>>,
    f: impl FnOnce() -> R,
) -> R {
    enter_at(depth() + 1, resource, kind, subject, f)
}

#[inline(always)]
fn enter_at<R>(
    depth: usize,
    resource: Id,
    kind: Kind,
    subject: Option<Subject<'_>>,
    f: impl FnOnce() -> R,
) -> R {
    /// Leaves the frame, also when `f` unwinds.
    struct Leave(*const Frame);
    impl Drop for Leave {
        #[inline(always)]
        fn drop(&mut self) {
            INNERMOST.with(|i| i.set(self.0));
        }
    }

    let frame = Frame {
        resource,
        outer: INNERMOST.with(Cell::get),
        depth_and_kind: depth * LEVEL + kind as usize,
        subject: subject.map(core::ptr::from_ref),
    };
    INNERMOST.with(|i| i.set(&raw const frame));
    let _leave = Leave(frame.outer);
    f()
}

/// Is the running task one of `resource`, or called by one?
pub(crate) fn is_current(resource: Id) -> bool {
    for frame in frames() {
        match frame.kind() {
            Kind::Aside => return false,
            _ if frame.resource == resource => return true,
            Kind::Lent => return false,
            Kind::Own => {}
        }
    }
    false
}

/// Calls `f` with the resource whose task this thread runs, and that task.
pub(crate) fn with_task<R>(f: impl FnOnce(Id, Option<Subject<'_>>) -> R) -> Option<R> {
    let frame = frames().next()?;
    if frame.kind() == Kind::Aside {
        return None;
    }
    // SAFETY: the task is there for as long as its frame is on the stack, which
    // is until our caller, further in, returns.
    let task = frame.subject.map(|task| unsafe { &*task });
    Some(f(frame.resource, task))
}

/// Does this thread have the role of `resource`, so that no task of it can
/// run before this thread goes on?
pub(crate) fn holds(resource: Id) -> bool {
    frames().any(|frame| frame.resource == resource)
}

/// Is this thread inside of a task of `resource`?
pub(crate) fn runs_task_of(resource: Id) -> bool {
    frames().any(|frame| frame.resource == resource && frame.kind() != Kind::Aside)
}

/// Names each resource whose role this thread has.
pub(crate) fn each_held(mut each: impl FnMut(Id)) {
    frames().for_each(|frame| each(frame.resource));
}

fn frames<'a>() -> impl Iterator<Item = &'a Frame> {
    let mut at = INNERMOST.with(Cell::get);
    core::iter::from_fn(move || {
        // SAFETY: null, or a frame that `enter` keeps on this thread's stack
        // at least until the caller of this iterator, further in, returns.
        let frame = unsafe { at.as_ref() }?;
        at = frame.outer;
        Some(frame)
    })
}
