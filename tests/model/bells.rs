//! What asynchronous tasks wait for, and the wakers that they leave there.

use crate::outcome::One;
use crate::steps::{BELLS, Ringing, Waking};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::sync::Mutex;
use std::task::{Poll, Waker};

#[derive(Default)]
pub(crate) struct Bells {
    /// The last is not rung, but opened.
    bells: [Mutex<Bell>; BELLS + 1],
    /// Wakers that are kept for no reason.
    kept: Mutex<VecDeque<Waker>>,
}

#[derive(Default)]
struct Bell {
    /// How often it was rung.
    rung: u64,
    /// From now on it rings all the while.
    open: bool,
    listeners: VecDeque<Listener>,
}

struct Listener {
    waker: Waker,
    /// Who is given up without it, or asks again. The others never would.
    task: Option<One>,
}

impl Bells {
    // Whoever is woken may run at once, on this thread, and wait there until another
    // rings: so never under a lock, and with nobody else's waker in hand.

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
                // If it has not come to wait yet, it is given up.
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

    /// Rings them all, and keeps no waker.
    pub(crate) fn ring_all(&self) {
        (0..BELLS).for_each(|bell| self.ring(bell, Ringing::Once));
        self.let_all_go();
    }

    fn let_all_go(&self) {
        let kept = self.kept.lock().unwrap().len();
        (0..kept).for_each(|_| self.let_go());
    }

    /// Drops one of the wakers that are kept. Those who wait for nothing are woken by
    /// that alone, and given up.
    fn let_go(&self) {
        let waker = self.kept.lock().unwrap().pop_front();
        drop(waker);
    }

    /// From now on nobody waits for a bell, and no waker is kept.
    pub(crate) fn open(&self) {
        for (index, bell) in self.bells.iter().enumerate() {
            bell.lock().unwrap().open = true;
            self.ring(index, Ringing::Once);
        }
        self.let_all_go();
    }

    /// Are no wakers kept?
    pub(crate) fn keep_none(&self) -> bool {
        self.kept.lock().unwrap().is_empty()
    }

    /// Waits until the bell is rung after the first poll.
    pub(crate) fn hear(&self, bell: usize) -> impl Future<Output = ()> + Send {
        self.hear_as(bell, None, |_| true)
    }

    /// The same, where the waker of this task may be dropped unused. If it asks `once`
    /// only, it may have nobody left who would wake it.
    pub(crate) fn hear_or_not(
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

    /// Waits until all is over.
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

    /// Gives up its turn.
    pub(crate) fn yields(&self, how: Waking) -> impl Future<Output = ()> + Send {
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

/// Waits, and leaves its waker nowhere.
pub(crate) async fn forsake(task: &One) {
    poll_fn(|_| {
        task.forsaken();
        Poll::<()>::Pending
    })
    .await;
}
