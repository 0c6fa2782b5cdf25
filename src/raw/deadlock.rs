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
//! Threads outside of any task never come here, and a call that does not block
//! does not either.

use crate::error::TaskError;
use crate::raw::context::{self, Id};
use crate::sync::StaticMutex;
use core::ptr::NonNull;
use std::collections::{HashMap, HashSet};
use std::sync::PoisonError;

/// Resource held by a blocked task → what it waits for; by address.
static WAITS: StaticMutex<Option<HashMap<usize, Edge>>> = StaticMutex::new(None);

/// What a thread waits for.
pub(crate) trait Event {
    /// It has come: the thread will go on, though it may not know yet.
    fn has_come(&self) -> bool;
    /// Names the resources that have to move for it to come, besides the one
    /// that is recorded with it.
    fn each_other(&self, _each: &mut dyn FnMut(Id)) {}
}

#[derive(Clone, Copy)]
struct Edge {
    /// The resource that has to move for it to come.
    target: usize,
    /// Live while the edge is recorded: its [`Wait`] borrows it.
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
        let mut waits = WAITS.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = waits.get_or_insert_with(HashMap::new);
        let mut seen = HashSet::new();
        let mut ahead = vec![target.addr()];
        event.each_other(&mut |id| ahead.push(id.addr()));
        while let Some(at) = ahead.pop() {
            if context::holds(core::ptr::without_provenance(at)) {
                return Err(WouldDeadlock);
            }
            if !seen.insert(at) {
                continue;
            }
            if let Some(edge) = waits.get(&at) {
                // SAFETY: recorded, so live; see `Edge`.
                let event = unsafe { edge.event.as_ref() };
                if !event.has_come() {
                    ahead.push(edge.target);
                    event.each_other(&mut |id| ahead.push(id.addr()));
                }
            }
        }
        // SAFETY: only the lifetime is forgotten. The edge goes when `wait` is
        // dropped, which is before `'a` ends: `Wait` is private to `raw`, and
        // nobody there leaks one.
        let event = unsafe {
            core::mem::transmute::<NonNull<dyn Event + 'a>, NonNull<dyn Event + 'static>>(
                NonNull::from(event),
            )
        };
        let target = target.addr();
        // Those further out may wait already, and help meanwhile: until this
        // wait is over, it is what their thread waits for.
        context::each_held(|id| {
            let outer = waits.insert(id.addr(), Edge { target, event });
            wait.recorded.push((id.addr(), outer));
        });
        Ok(wait)
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if self.recorded.is_empty() {
            return;
        }
        let mut waits = WAITS.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = waits.get_or_insert_with(HashMap::new);
        while let Some((id, outer)) = self.recorded.pop() {
            match outer {
                Some(edge) => waits.insert(id, edge),
                None => waits.remove(&id),
            };
        }
    }
}
