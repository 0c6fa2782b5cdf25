//! The tasks that this thread is inside of: a stack of frames, one for each task that runs here,
//! linked through the call stack.
//!
//! Entering a frame costs a few stores and no allocation, so each task has a frame. All questions
//! walk the frames: `is_current`, deadlock checks and the limit on nesting.

use crate::sync::thread_local_const;
use core::cell::Cell;
use core::ptr;
use core::time::Duration;

/// The name of a task in the log.
pub(crate) type TaskName = Option<&'static str>;

/// A running task, as seen by code that asks what runs on this thread.
pub(crate) trait Described {
    fn name(&self) -> TaskName;
    /// Returns the task's priority. `None` means the resource's default.
    fn level(&self) -> Option<u8>;
    /// Returns how long the task was queued, if that was noted.
    fn queued_for(&self) -> Option<Duration>;
    /// Checks whether the task was asked to stop by its handle, a sweep or its deadline.
    fn was_asked_to_stop(&self) -> bool;
    /// Checks whether the task may wait, and keep its resource in the meantime.
    fn waits(&self) -> bool;
}

/// Identifies a resource by the address of its core, or a scheduler by the address of its `Host`.
pub(crate) type Id = *const ();

/// How deep tasks may be nested. At this depth, a task that could run on its submitter is queued
/// for the pool (G6). A level costs one frame of user code and a few hundred bytes of captor's.
pub(crate) const MAX_DEPTH: usize = 8;

/// How a thread came to run something for a resource.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// A task of this thread. If the thread is inside other tasks, they have called this task.
    Own = 0,
    /// A task of another submitter, to which the thread only lends itself.
    Lent = 1,
    /// Code that is not a task but comes with a task: wakers, and drops of outcomes and closures.
    /// For the deadlock check, the thread holds the resource all the same.
    Aside = 2,
}

// The order of the fields puts together what is written for a task without attributes.
#[repr(C)]
struct Frame {
    resource: Id,
    outer: *const Frame,
    /// The number of tasks that the thread is inside of, this task included, and the kind of this
    /// frame. Both share a word, since it is written for each task.
    depth_and_kind: usize,
    /// The task, if it has anything to say of itself.
    subject: Option<*const (dyn Described + 'static)>,
}

/// The unit in which `depth_and_kind` counts the depth. The kind is the remainder.
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

/// A running task, as its frame knows it.
pub(crate) type Subject<'a> = &'a (dyn Described + 'static);

thread_local_const! {
    static INNERMOST: Cell<*const Frame> = Cell::new(ptr::null());
    static WORK: Cell<*const Work> = Cell::new(ptr::null());
    static DISPATCHING: Cell<bool> = Cell::new(false);
    static ON_BLOCK: Cell<Option<fn(Blocking)>> = Cell::new(None);
}

/// Tells a worker that a task on it starts or ends a blocking wait of captor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Blocking {
    Starts,
    Ends,
}

/// Sets the hook that is told when this thread blocks in a wait of captor.
pub(crate) fn on_block(hook: fn(Blocking)) {
    ON_BLOCK.with(|h| h.set(Some(hook)));
}

/// Runs `f`, which blocks, and tells the hook before and after.
pub(crate) fn block<R>(f: impl FnOnce() -> R) -> R {
    let Some(hook) = ON_BLOCK.with(Cell::get) else {
        return f();
    };
    hook(Blocking::Starts);
    let result = f();
    hook(Blocking::Ends);
    result
}

/// A job that this thread runs, linked to the jobs further out on its stack.
struct Work {
    host: Id,
    outer: *const Work,
}

/// Runs `f`, which works through a job of `host`.
pub(crate) fn work(host: Id, f: impl FnOnce()) {
    /// Restores the state before the job, also when `f` unwinds.
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

/// Checks whether this thread runs a job.
pub(crate) fn is_working() -> bool {
    !WORK.with(Cell::get).is_null()
}

/// Checks whether this thread runs a job of `host`.
pub(crate) fn works_for(host: Id) -> bool {
    let mut at = WORK.with(Cell::get);
    // SAFETY: the pointer is null, or leads to a link on this thread's stack. `work` keeps the link
    // until its closure returns, and this call is made inside of that closure.
    while let Some(work) = unsafe { at.as_ref() } {
        if work.host == host {
            return true;
        }
        at = work.outer;
    }
    false
}

/// Runs `f`, which gives a job to an executor and must not unwind.
pub(crate) fn dispatch(f: impl FnOnce()) {
    let outer = DISPATCHING.with(|d| d.replace(true));
    f();
    DISPATCHING.with(|d| d.set(outer));
}

/// Checks whether this thread is giving a job to an executor.
pub(crate) fn is_dispatching() -> bool {
    DISPATCHING.with(Cell::get)
}

/// Returns how many tasks this thread is inside of.
#[inline(always)]
pub(crate) fn depth() -> usize {
    let frame = INNERMOST.with(Cell::get);
    if frame.is_null() {
        return 0;
    }
    // SAFETY: a frame is linked only while `enter_at` keeps it on this thread's stack.
    unsafe { (*frame).depth_and_kind / LEVEL }
}

/// Runs `f` for `resource`, in a frame that has no task. In this frame, the thread counts as the
/// holder of `resource`.
#[inline(always)]
pub(crate) fn enter<R>(resource: Id, kind: Kind, f: impl FnOnce() -> R) -> R {
    enter_task(resource, kind, None, f)
}

/// Runs `f` for `resource` on a thread that must run no task. A task that `f` submits is queued for
/// the pool, as at the greatest depth of nesting.
pub(crate) fn enter_without_tasks<R>(resource: Id, f: impl FnOnce() -> R) -> R {
    enter_at(MAX_DEPTH, resource, Kind::Aside, None, f)
}

/// Runs `f`, a task of `resource`, in a frame of its own.
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

/// Checks whether the running task is one of `resource`, or was called by one of its tasks.
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
    // SAFETY: the task lives for as long as its frame is on the stack. `enter_at` keeps the frame
    // until its closure returns, and this call is made inside of that closure.
    let task = frame.subject.map(|task| unsafe { &*task });
    Some(f(frame.resource, task))
}

/// Checks whether this thread has a frame of `resource`, and so counts as the holder. If so, other
/// tasks of the resource may have to wait for this thread.
pub(crate) fn holds(resource: Id) -> bool {
    frames().any(|frame| frame.resource == resource)
}

/// Checks whether this thread is inside of a task of `resource`.
pub(crate) fn runs_task_of(resource: Id) -> bool {
    frames().any(|frame| frame.resource == resource && frame.kind() != Kind::Aside)
}

/// Calls `each` with the resource of each frame of this thread.
pub(crate) fn each_held(mut each: impl FnMut(Id)) {
    frames().for_each(|frame| each(frame.resource));
}

/// Returns the frames of this thread, innermost first.
fn frames<'a>() -> impl Iterator<Item = &'a Frame> {
    let mut at = INNERMOST.with(Cell::get);
    core::iter::from_fn(move || {
        // SAFETY: the pointer is null, or leads to a frame on this thread's stack. `enter_at` keeps
        // the frame until its closure returns, and the iterator is used inside of that closure.
        let frame = unsafe { at.as_ref() }?;
        at = frame.outer;
        Some(frame)
    })
}
