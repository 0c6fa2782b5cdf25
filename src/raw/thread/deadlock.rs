//! Refuses waits that would never end (G8), by a wait-for graph.
//!
//! A thread inside a task holds that task's resource. Before the thread blocks for another
//! resource, it records that its own resources wait for that resource. If the records lead from
//! there back to a resource that the thread holds, none of these resources would ever be released.
//! So the wait is refused.
//!
//! - One mutex around the records is enough: the thread that would close a circle sees the rest of
//!   the circle.
//! - A record counts only until the awaited event has come.
//! - A chain has tasks on several resources. A wait for a chain counts, from the start of the wait,
//!   as a wait for each resource that has yet to do its part. The check cannot come later: no
//!   thread looks when the chain moves on.
//! - An asynchronous task that awaits a completion holds its resource too, and blocks no thread.
//!   Its wait is recorded from the first poll until the completion is dropped or the task has
//!   finished. A task may await several completions, all of them or the first that comes. Each
//!   completion counts as if it had to come.
//!
//! Threads outside of any task never take the mutex, and neither does a call that does not block.
//!
//! Source: R. C. Holt, "Some Deadlock Properties of Computer Systems", 1972 (wait-for graphs). See
//! also G8 in `docs/design/guarantees.md`.

use crate::error::TaskError;
use crate::raw::thread::context::{self, Id};
use crate::sync::StaticMutex;
use core::ptr::NonNull;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::PoisonError;

static WAITS: StaticMutex<Option<WaitGraph>> = StaticMutex::new(None);

/// The recorded waits. Resources are keyed by address.
#[derive(Default)]
struct WaitGraph {
    /// A resource that a blocked task holds → what the task waits for.
    blocked: HashMap<usize, Edge>,
    /// A resource that an asynchronous task keeps → what the task awaits, each under a number.
    awaiting: HashMap<usize, BTreeMap<u64, Edge>>,
    numbers: u64,
}

impl WaitGraph {
    fn with<R>(f: impl FnOnce(&mut WaitGraph) -> R) -> R {
        let mut waits = WAITS.lock().unwrap_or_else(PoisonError::into_inner);
        f(waits.get_or_insert_with(WaitGraph::default))
    }

    /// Checks whether `event` depends on a held resource. The search starts at `target` and at the
    /// other resources that have to move for `event` to come, and follows the records.
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
                // SAFETY: the edge is recorded, so its event is live (contract of `Edge::event`).
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

/// The event that a thread or a task waits for.
pub(crate) trait Event {
    /// Checks whether the event has come. The waiting thread may not have noticed the event yet.
    fn has_come(&self) -> bool;
    /// Calls `_each` with the resources that have to move for the event to come, besides the
    /// resource that is recorded with it.
    fn each_other(&self, _each: &mut dyn FnMut(Id)) {}
}

/// An event of one resource. The closure returns whether the event has come.
impl<F: Fn() -> bool> Event for F {
    fn has_come(&self) -> bool {
        self()
    }
}

#[derive(Clone, Copy)]
struct Edge {
    /// The resource that has to move for the event to come.
    target: usize,
    /// Live while the edge is recorded: its [`Wait`] borrows the event, or its [`Await`] owns it.
    event: NonNull<dyn Event>,
}

// SAFETY: only `has_come` and `each_other` are called through the pointer, under the mutex. They
// read what any thread may read: a life word, a resource's state, a chain's links.
unsafe impl Send for Edge {}

/// The error of a wait that would never end.
#[derive(Debug)]
pub(crate) struct WouldDeadlock;

impl From<WouldDeadlock> for TaskError {
    fn from(WouldDeadlock: WouldDeadlock) -> Self {
        TaskError::WouldDeadlock
    }
}

/// The wait of this thread. The record lasts until this is dropped.
pub(crate) struct Wait<'a> {
    /// The resources with a record of this wait, each with the record of an outer wait on this
    /// stack that was replaced.
    recorded: Vec<(usize, Option<Edge>)>,
    _event: core::marker::PhantomData<&'a ()>,
}

impl<'a> Wait<'a> {
    /// Records that this thread is about to block until `event` has come, for which a task of
    /// `target` has to run.
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
            // SAFETY: only the lifetime changes. The drop of `wait` removes the edge, before `'a`
            // ends: `Wait` is private to the crate, and no code in the crate leaks a `Wait`.
            let event = unsafe {
                core::mem::transmute::<NonNull<dyn Event + 'a>, NonNull<dyn Event + 'static>>(
                    NonNull::from(event),
                )
            };
            // A task further out may wait already, with its thread helping in the meantime. Until
            // the new wait is over, the thread waits for the new event.
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

/// The wait of an asynchronous task. The record lasts until this is dropped.
pub(crate) struct Await {
    resource: usize,
    number: u64,
    /// Dropped after its record is removed.
    _event: Box<dyn Event + Send + Sync>,
}

impl Await {
    /// Records that the running task of `resource` awaits `event`, for which a task of `target`
    /// has to run.
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
