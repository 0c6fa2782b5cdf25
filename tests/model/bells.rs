//! The bells that async tasks wait for, and the wakers that tasks leave there.

use crate::outcome::One;
use crate::steps::{BELLS, Ringing, Waking};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::sync::Mutex;
use std::task::{Poll, Waker};

#[derive(Default)]
pub(crate) struct Bells {
    /// The last bell is never rung, only opened.
    bells: [Mutex<Bell>; BELLS + 1],
    /// Wakers that are kept for no reason.
    kept: Mutex<VecDeque<Waker>>,
}

#[derive(Default)]
struct Bell {
    /// How often the bell was rung.
    rung: u64,
    /// An open bell rings all the time.
    open: bool,
    listeners: VecDeque<Listener>,
}

struct Listener {
    waker: Waker,
    /// The task, if it is given up without the waker or leaves a new waker. `None` for a future
    /// that would not resolve without the waker.
    task: Option<One>,
}

impl Bells {
    // A woken task may run at once, on this thread, and wait there until another thread rings. The
    // waker is therefore used without a lock, and without another listener's waker in hand.

    pub(crate) fn ring(&self, bell: usize, how: Ringing) {
        let bell = &self.bells[bell];
        let count = {
            let mut bell = bell.lock().unwrap();
            bell.rung += u64::from(!matches!(how, Ringing::Astray | Ringing::Hush));
            bell.listeners.len()
        };
        for _ in 0..count {
            let first = bell.lock().unwrap().listeners.pop_front();
            let Some(listener) = first else { break };
            self.use_waker(bell, listener, how);
        }
    }

    fn use_waker(&self, bell: &Mutex<Bell>, listener: Listener, how: Ringing) {
        let Listener { waker, task } = listener;
        match (how, task) {
            (Ringing::Once | Ringing::Astray, _) => waker.wake(),
            (Ringing::Twice, _) => {
                waker.wake_by_ref();
                waker.wake();
            }
            (Ringing::Kept, _) => {
                waker.wake_by_ref();
                self.keep(waker);
            }
            (Ringing::Hush, Some(task)) => {
                // A task that has not suspended yet is then given up.
                task.forsaken();
                drop(waker);
            }
            (Ringing::Hush, task) => {
                let mut bell = bell.lock().unwrap();
                bell.listeners.push_back(Listener { waker, task });
            }
        }
    }

    fn keep(&self, waker: Waker) {
        self.kept.lock().unwrap().push_back(waker);
    }

    pub(crate) fn wake_kept(&self) {
        let kept = self.kept.lock().unwrap().clone();
        kept.iter().for_each(Waker::wake_by_ref);
    }

    /// Rings all bells, and keeps no waker.
    pub(crate) fn ring_all(&self) {
        (0..BELLS).for_each(|bell| self.ring(bell, Ringing::Once));
        self.drop_all_kept();
    }

    fn drop_all_kept(&self) {
        let kept = self.kept.lock().unwrap().len();
        (0..kept).for_each(|_| self.drop_kept());
    }

    /// Drops one of the kept wakers. A task that waits for nothing is woken by that drop alone, and
    /// given up.
    fn drop_kept(&self) {
        let waker = self.kept.lock().unwrap().pop_front();
        drop(waker);
    }

    /// Opens all bells. From now on no task waits for a bell, and no waker is kept.
    pub(crate) fn open(&self) {
        for (index, bell) in self.bells.iter().enumerate() {
            bell.lock().unwrap().open = true;
            self.ring(index, Ringing::Once);
        }
        self.drop_all_kept();
    }

    /// Checks whether no waker is kept.
    pub(crate) fn keep_none(&self) -> bool {
        self.kept.lock().unwrap().is_empty()
    }

    /// Waits until the bell is rung after the first poll.
    pub(crate) fn hear(&self, bell: usize) -> impl Future<Output = ()> + Send {
        self.hear_as(bell, None, |_| true)
    }

    /// Waits like [`Self::hear`], but the waker of this task may be dropped unused. If the task
    /// listens `once` only, no waker may be left to wake it.
    pub(crate) fn hear_or_give_up(
        &self,
        bell: usize,
        once: bool,
        task: &One,
    ) -> impl Future<Output = ()> + Send {
        let one = task.clone();
        self.hear_as(bell, Some(task.clone()), move |first| {
            let listens = first || !once;
            if !listens {
                one.forsaken();
            }
            listens
        })
    }

    /// Waits until the program is over.
    pub(crate) fn outlast(&self) -> impl Future<Output = ()> + Send {
        self.hear(BELLS)
    }

    fn hear_as(
        &self,
        bell: usize,
        task: Option<One>,
        mut listens: impl FnMut(bool) -> bool + Send,
    ) -> impl Future<Output = ()> + Send {
        let mut since = None;
        poll_fn(move |cx| {
            let mut bell = self.bells[bell].lock().unwrap();
            let first = since.is_none();
            if bell.open || *since.get_or_insert(bell.rung) < bell.rung {
                return Poll::Ready(());
            }
            if listens(first) {
                let (waker, task) = (cx.waker().clone(), task.clone());
                bell.listeners.push_back(Listener { waker, task });
            }
            Poll::Pending
        })
    }

    /// Suspends once, woken by itself.
    pub(crate) fn yield_once(&self, how: Waking) -> impl Future<Output = ()> + Send {
        let mut waited = false;
        poll_fn(move |cx| {
            if std::mem::replace(&mut waited, true) {
                return Poll::Ready(());
            }
            let waker = cx.waker().clone();
            match how {
                Waking::ByRef => cx.waker().wake_by_ref(),
                Waking::ByValue => waker.wake(),
                Waking::Twice => {
                    waker.wake();
                    cx.waker().wake_by_ref();
                }
                Waking::Kept => {
                    self.keep(waker);
                    cx.waker().wake_by_ref();
                }
            }
            Poll::Pending
        })
    }
}

/// Suspends, and leaves its waker nowhere.
pub(crate) async fn suspend_for_ever(task: &One) {
    poll_fn(|_| {
        task.forsaken();
        Poll::<()>::Pending
    })
    .await;
}
