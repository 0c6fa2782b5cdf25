//! Tasks that wait and keep their resource without keeping a thread.
//!
//! A task's run may end in [`Step::Wait`] in place of an outcome. The holder
//! then gives its role to the task ([`Mode::Suspended`](super::state::Mode)),
//! and whoever has the [`Resumer`] brings the task back to the head of its
//! resource. Two things may happen at once: the holder parks the task, and the
//! resumer calls. A word of two bits decides, each side setting its own and
//! looking at the other's:
//!
//! - resumed first: the holder sees `RESUMED` as it parks, and goes on itself;
//! - parked first: the resumer sees `PARKED`, and brings the task back.

use crate::sync::{Arc, AtomicUsize, Ordering, UnsafeCell};
use core::fmt;

const PARKED: usize = 1;
const RESUMED: usize = 2;

/// What one run of a task that may wait came to.
#[derive(Debug)]
pub(crate) enum Step<R> {
    Done(R),
    /// Not yet: run it again once it is resumed.
    #[cfg_attr(not(test), allow(dead_code))]
    Wait(Suspension),
}

/// Brings the parked task back to its resource.
type Back = Box<dyn FnOnce() + Send>;

struct Gate {
    bits: AtomicUsize,
    /// Written by the holder before `PARKED`; taken by the one of the two
    /// that sees the other's bit.
    back: UnsafeCell<Option<Back>>,
}

// SAFETY: the cell is handed from one thread to the other by the bits (see
// `park` and `resume`), and what is in it is `Send`.
unsafe impl Sync for Gate {}

impl Gate {
    /// # Safety
    /// Both bits are set, and the caller set the second.
    unsafe fn take(&self) -> Option<Back> {
        // SAFETY: by the contract nobody else touches the cell now.
        self.back.with_mut(|back| unsafe { (*back).take() })
    }
}

/// One wait of a task: what it returns in [`Step::Wait`].
pub(crate) struct Suspension(Arc<Gate>);

/// Ends that wait. Dropping it does so too: the task sees for itself whether
/// what it waited for has come.
pub(crate) struct Resumer(Option<Arc<Gate>>);

/// The two ends of one wait.
// Asynchronous tasks are to be built on it; until then the tests and models
// of the protocol are its users.
#[cfg_attr(not(test), allow(dead_code))]
pub(crate) fn suspend() -> (Suspension, Resumer) {
    let gate = Arc::new(Gate {
        bits: AtomicUsize::new(0),
        back: UnsafeCell::new(None),
    });
    (Suspension(Arc::clone(&gate)), Resumer(Some(gate)))
}

impl Suspension {
    /// Leaves the task to its resumer, who is to call `back`. `false`: it was
    /// resumed already, and the task is still the caller's.
    pub(crate) fn park(self, back: Back) -> bool {
        // SAFETY: `PARKED` is not set yet, so the cell is the holder's.
        self.0.back.with_mut(|cell| unsafe { *cell = Some(back) });
        // Release for the cell, partner: `resume`'s Acquire; Acquire for what
        // the resumer did before, partner: its Release.
        if self.0.bits.fetch_or(PARKED, Ordering::AcqRel) & RESUMED == 0 {
            return true;
        }
        // SAFETY: both bits are set, and ours was the second.
        drop(unsafe { self.0.take() });
        false
    }
}

impl Resumer {
    /// Lets the task go on.
    #[cfg_attr(not(test), allow(dead_code))]
    pub(crate) fn resume(self) {
        drop(self);
    }
}

impl Drop for Resumer {
    fn drop(&mut self) {
        let Some(gate) = self.0.take() else { return };
        // Partners: see `park`.
        if gate.bits.fetch_or(RESUMED, Ordering::AcqRel) & PARKED != 0 {
            // SAFETY: both bits are set, and ours was the second.
            if let Some(back) = unsafe { gate.take() } {
                back();
            }
        }
    }
}

impl fmt::Debug for Suspension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Suspension").finish_non_exhaustive()
    }
}

impl fmt::Debug for Resumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resumer").finish_non_exhaustive()
    }
}

#[cfg(all(test, not(any(captor_loom, captor_shuttle))))]
mod tests {
    use super::*;
    use crate::raw::attributes::Tag;
    use crate::raw::submit::Entry;
    use crate::raw::task::Steps;
    use crate::{Completion, Resource, TaskError};
    use std::sync::mpsc;

    /// Submits a task that waits once, and then returns what it finds.
    fn waits_once(r: &Resource<Vec<u32>>, resumers: mpsc::Sender<Resumer>) -> Completion<Vec<u32>> {
        let mut first = true;
        let steps = move |log: &mut Vec<u32>| {
            log.push(u32::from(first));
            if std::mem::take(&mut first) {
                let (suspension, resumer) = suspend();
                resumers.send(resumer).unwrap();
                return Step::Wait(suspension);
            }
            Step::Done(log.clone())
        };
        let task = r
            .core()
            .queue_body(Steps(steps), Tag::default(), Entry::Bounded);
        let task = task.unwrap_or_else(|_| panic!("refused"));
        Completion::queued(task, Arc::downgrade(r.core()) as _)
    }

    #[test]
    fn a_suspended_task_keeps_its_resource_and_no_thread() {
        let r = Resource::new(Vec::new());
        let (send, receive) = mpsc::channel();
        // Runs here, up to where it waits.
        let task = waits_once(&r, send);
        let resumer = receive.try_recv().unwrap();
        let later = r.submit(|log| log.push(7));
        assert!(!task.is_finished() && !later.is_finished());
        assert_eq!(r.stats().outstanding, 2);
        resumer.resume();
        assert_eq!(task.wait(), Ok(vec![1, 0]));
        assert_eq!(later.wait(), Ok(()));
        assert_eq!(r.with(|log| log.clone()), Ok(vec![1, 0, 7]));
    }

    #[test]
    fn a_suspended_task_gives_its_room_back_once() {
        let r = Resource::builder().capacity(1).build(Vec::new()).unwrap();
        let (send, receive) = mpsc::channel();
        let task = waits_once(&r, send);
        // It has started.
        let room = r.try_reserve().unwrap();
        receive.recv().unwrap().resume();
        assert_eq!(task.wait(), Ok(vec![1, 0]));
        assert!(r.try_reserve().is_err());
        drop(room);
    }

    #[test]
    fn dropping_the_resumer_resumes() {
        let r = Resource::new(Vec::new());
        let (send, receive) = mpsc::channel();
        let task = waits_once(&r, send);
        drop(receive);
        assert_eq!(task.wait(), Ok(vec![1, 0]));
    }

    #[test]
    fn resumed_before_it_waits() {
        let r = Resource::new(0);
        let mut steps = 0;
        let body = move |n: &mut i32| {
            steps += 1;
            if steps < 3 {
                let (suspension, resumer) = suspend();
                resumer.resume();
                return Step::Wait(suspension);
            }
            *n = steps;
            Step::Done(())
        };
        let task = r
            .core()
            .queue_body(Steps(body), Tag::default(), Entry::Bounded);
        assert!(task.is_ok_and(|task| task.is_complete()));
        assert_eq!(r.with(|n| *n), Ok(3));
    }

    #[test]
    fn a_suspended_task_cannot_be_cancelled_and_outlives_a_close() {
        let r = Resource::new(Vec::new());
        let (send, receive) = mpsc::channel();
        let task = waits_once(&r, send);
        let later = r.submit(|log| log.push(7));
        assert!(!task.cancel());
        assert_eq!(r.cancel_pending(), 1);
        r.close();
        receive.recv().unwrap().resume();
        assert_eq!(task.wait(), Ok(vec![1, 0]));
        assert_eq!(later.wait(), Err(TaskError::Cancelled));
        assert!(r.wait_closed(std::time::Duration::from_secs(30)));
    }

    #[test]
    fn a_panic_after_a_wait_is_the_outcome() {
        let r = Resource::new(0);
        let mut first = true;
        let (send, receive) = mpsc::channel();
        let body = move |_: &mut i32| -> Step<()> {
            assert!(std::mem::take(&mut first), "second step");
            let (suspension, resumer) = suspend();
            send.send(resumer).unwrap();
            Step::Wait(suspension)
        };
        let task = r
            .core()
            .queue_body(Steps(body), Tag::default(), Entry::Bounded);
        let task = task.unwrap_or_else(|_| panic!("refused"));
        let task = Completion::queued(task, Arc::downgrade(r.core()) as _);
        receive.recv().unwrap().resume();
        assert!(matches!(task.wait(), Err(TaskError::Panicked(p)) if p.message() == "second step"));
        assert_eq!(r.with(|n| *n), Ok(0));
    }
}
