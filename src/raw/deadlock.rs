//! Waits that would never end (G8).
//!
//! A thread inside a task holds that task's resource. If it blocks for another
//! resource, it records "mine waits for that one" first; if following such
//! records from there leads back to a resource it holds, nothing will ever
//! release either, and the wait is refused. Each held resource waits for at
//! most one other, so the records form chains, and one mutex around them is
//! enough: whoever closes a circle sees the rest of it. (Wait-for graphs:
//! R. C. Holt, "Some Deadlock Properties of Computer Systems", 1972.)
//!
//! Threads outside of any task never come here, and a call that does not block
//! does not either.

use crate::raw::context::{self, Id};
use crate::sync::StaticMutex;
use std::collections::HashMap;
use std::sync::PoisonError;

/// Resource held by a blocked task → resource it waits for, as addresses.
static WAITS: StaticMutex<Option<HashMap<usize, usize>>> = StaticMutex::new(None);

/// The wait would never end.
#[derive(Debug)]
pub(crate) struct WouldDeadlock;

/// This thread's wait, recorded until dropped.
#[derive(Debug)]
pub(crate) struct Wait {
    waiting: Vec<Id>,
}

impl Wait {
    /// Records that this thread is about to block until a task of `target` is through.
    pub(crate) fn begin(target: Id) -> Result<Wait, WouldDeadlock> {
        if context::depth() == 0 {
            return Ok(Wait {
                waiting: Vec::new(),
            });
        }
        let mut waits = WAITS.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = waits.get_or_insert_with(HashMap::new);
        let mut at = target.addr();
        loop {
            if context::holds(core::ptr::without_provenance(at)) {
                return Err(WouldDeadlock);
            }
            match waits.get(&at) {
                Some(next) => at = *next,
                None => break,
            }
        }
        let mut waiting = Vec::new();
        context::start_waiting(|id| {
            waits.insert(id.addr(), target.addr());
            waiting.push(id);
        });
        Ok(Wait { waiting })
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let mut waits = WAITS.lock().unwrap_or_else(PoisonError::into_inner);
        for id in self.waiting.drain(..) {
            context::stop_waiting(id);
            if let Some(waits) = waits.as_mut() {
                waits.remove(&id.addr());
            }
        }
    }
}
