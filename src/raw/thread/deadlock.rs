//! Waits that would never end (G8).
//!
//! A thread inside a task holds that task's resource. If it blocks for another
//! resource, it records "mine waits for that one" first; if following such
//! records from there leads back to a resource it holds, nothing will ever
//! release either, and the wait is refused. One mutex around the records is
//! enough: whoever closes a circle sees the rest of it. A record counts only
//! while what it waits for has not come. Who waits for a chain of tasks on
//! several resources waits for each that is yet to do its part, from the start:
//! when the chain moves on, nobody would look.
//! (Wait-for graphs:
//! R. C. Holt, "Some Deadlock Properties of Computer Systems", 1972.)
//!
//! An asynchronous task that awaits a completion holds its resource too, and no thread
//! is blocked. What it awaits is recorded from the first poll until the completion is
//! dropped, or the task is through. A task may await several at once, all of them or
//! the first that comes; so each counts as if it had to come.
//!
//! Threads outside of any task never come here, and a call that does not block
//! does not either.

use crate::error::TaskError;
use crate::raw::thread::context::{self, Id};
use crate::sync::StaticMutex;
use core::ptr::NonNull;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::PoisonError;

static WAITS: StaticMutex<Option<WaitGraph>> = StaticMutex::new(None);

/// Who waits for what; resources by address.
#[derive(Default)]
struct WaitGraph {
    /// Resource held by a blocked task → what it waits for.
    blocked: HashMap<usize, Edge>,
    /// Resource kept by an asynchronous task → what that awaits, each under a number.
    awaiting: HashMap<usize, BTreeMap<u64, Edge>>,
    numbers: u64,
}

impl WaitGraph {
    fn with<R>(f: impl FnOnce(&mut WaitGraph) -> R) -> R {
        let mut waits = WAITS.lock().unwrap_or_else(PoisonError::into_inner);
        f(waits.get_or_insert_with(WaitGraph::default))
    }

    /// Does what has to move for `event` to come, `target` and others, wait for one of
    /// those that are held?
    fn lead_to(&self, target: usize, event: &dyn Event, is_held: impl Fn(usize) -> bool) -> bool {
        let mut seen = HashSet::new();
        let mut ahead = vec![target];
        event.each_other(&mut |id| ahead.push(id.addr()));
        while let Some(at) = ahead.pop() {
            if is_held(at) {
                return true;
            }
            if !seen.insert(at) {
                continue;
            }
            let awaiting = self
                .awaiting
                .get(&at)
                .into_iter()
                .flat_map(BTreeMap::values);
            let edges = (self.blocked.get(&at).into_iter()).chain(awaiting);
            for edge in edges {
                // SAFETY: recorded, so live; see `Edge`.
                let event = unsafe { edge.event.as_ref() };
                if !event.has_come() {
                    ahead.push(edge.target);
                    event.each_other(&mut |id| ahead.push(id.addr()));
                }
            }
        }
        false
    }
}

/// What a thread waits for.
pub(crate) trait Event {
    /// It has come: the thread will go on, though it may not know yet.
    fn has_come(&self) -> bool;
    /// Names the resources that have to move for it to come, besides the one
    /// that is recorded with it.
    fn each_other(&self, _each: &mut dyn FnMut(Id)) {}
}

/// An event of one resource: the closure says whether it has come.
impl<F: Fn() -> bool> Event for F {
    fn has_come(&self) -> bool {
        self()
    }
}

#[derive(Clone, Copy)]
struct Edge {
    /// The resource that has to move for it to come.
    target: usize,
    /// Live while the edge is recorded: its [`Wait`] borrows it, its [`Await`] owns it.
    event: NonNull<dyn Event>,
}

// SAFETY: only `has_come` and `each_other` are called through it, under the
// mutex, on types that are asked from any thread (a life word, a resource's
// state, a chain's links).
unsafe impl Send for Edge {}

/// The wait would never end.
#[derive(Debug)]
pub(crate) struct WouldDeadlock;

impl From<WouldDeadlock> for TaskError {
    fn from(WouldDeadlock: WouldDeadlock) -> Self {
        TaskError::WouldDeadlock
    }
}

/// This thread's wait, recorded until dropped.
pub(crate) struct Wait<'a> {
    /// What was recorded, and the records of waits further out on this stack
    /// that it took the place of.
    recorded: Vec<(usize, Option<Edge>)>,
    _event: core::marker::PhantomData<&'a ()>,
}

impl<'a> Wait<'a> {
    /// Records that this thread is about to block until `event` has come,
    /// for which a task of `target` has to run.
    pub(crate) fn begin(
        target: Id,
        event: &'a (dyn Event + 'a),
    ) -> Result<Wait<'a>, WouldDeadlock> {
        let mut wait = Wait {
            recorded: Vec::new(),
            _event: core::marker::PhantomData,
        };
        if context::depth() == 0 {
            return Ok(wait);
        }
        let target = target.addr();
        WaitGraph::with(|waits| {
            if waits.lead_to(target, event, |at| {
                context::holds(core::ptr::without_provenance(at))
            }) {
                return Err(WouldDeadlock);
            }
            // SAFETY: only the lifetime is forgotten. The edge goes when `wait` is
            // dropped, which is before `'a` ends: `Wait` is private to `raw`, and
            // nobody there leaks one.
            let event = unsafe {
                core::mem::transmute::<NonNull<dyn Event + 'a>, NonNull<dyn Event + 'static>>(
                    NonNull::from(event),
                )
            };
            // Those further out may wait already, and help meanwhile: until this
            // wait is over, it is what their thread waits for.
            context::each_held(|id| {
                let outer = waits.blocked.insert(id.addr(), Edge { target, event });
                wait.recorded.push((id.addr(), outer));
            });
            Ok(wait)
        })
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if self.recorded.is_empty() {
            return;
        }
        WaitGraph::with(|waits| {
            while let Some((id, outer)) = self.recorded.pop() {
                match outer {
                    Some(edge) => waits.blocked.insert(id, edge),
                    None => waits.blocked.remove(&id),
                };
            }
        });
    }
}

/// What an asynchronous task awaits, recorded until dropped.
pub(crate) struct Await {
    resource: usize,
    number: u64,
    /// Dropped after the record of it is gone.
    _event: Box<dyn Event + Send + Sync>,
}

impl Await {
    /// Records that the running task of `resource` awaits `event`, for which a task of
    /// `target` has to run.
    pub(crate) fn begin(
        resource: Id,
        target: Id,
        event: Box<dyn Event + Send + Sync>,
    ) -> Result<Await, WouldDeadlock> {
        let (resource, target) = (resource.addr(), target.addr());
        WaitGraph::with(|waits| {
            if waits.lead_to(target, &*event, |at| at == resource) {
                return Err(WouldDeadlock);
            }
            waits.numbers += 1;
            let number = waits.numbers;
            let edge = Edge {
                target,
                event: NonNull::from(&*event as &(dyn Event + 'static)),
            };
            let awaiting = waits.awaiting.entry(resource).or_default();
            awaiting.insert(number, edge);
            Ok(Await {
                resource,
                number,
                _event: event,
            })
        })
    }
}

impl Drop for Await {
    fn drop(&mut self) {
        WaitGraph::with(|waits| {
            if let Some(awaiting) = waits.awaiting.get_mut(&self.resource) {
                awaiting.remove(&self.number);
                if awaiting.is_empty() {
                    waits.awaiting.remove(&self.resource);
                }
            }
        });
    }
}
