//! [`Scheduler::sleep`]: waits for a time, without a runtime.
//!
//! A [`Sleep`] that is polled sets an alarm with the scheduler's timer. Between the sleep and the
//! alarm stands a [`Bell`], which holds the waker of the sleep's task under a lock. The timer may
//! keep the alarm long after the sleep was dropped, but the drop takes the waker out.

use crate::raw::core::Host;
use crate::raw::thread::context;
use crate::raw::thread::panics;
use crate::raw::timing::alarm::Alarm;
use crate::scheduler::Scheduler;
use crate::sync::{Arc, Mutex, lock};
use std::fmt;
use std::future::Future;
use std::mem::replace;
use std::pin::Pin;
use std::ptr;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

impl Scheduler {
    /// Returns a future that resolves after `time`. Use it in [asynchronous
    /// tasks](crate::Resource::submit_async), or in any other async code. In the guide:
    /// [timers](crate::guide::timers).
    ///
    /// The time begins when this is called. If the end of the time is too far away for an
    /// [`Instant`], the future never resolves. The scheduler's timer wakes the future: one thread
    /// that serves all alarms and starts at the first use. An alarm costs this thread O(log n) for
    /// n alarms.
    ///
    /// # Cancellation
    /// Dropping the future cancels the sleep, and has no other effect.
    ///
    /// ```
    /// use captor::{Resource, Scheduler};
    /// use std::time::{Duration, Instant};
    ///
    /// let r = Resource::new(0);
    /// let begin = Instant::now();
    /// let slow = r.submit_async(async |n| {
    ///     Scheduler::global().sleep(Duration::from_millis(10)).await;
    ///     *n += 1;
    /// });
    /// slow.wait()?;
    /// assert!(begin.elapsed() >= Duration::from_millis(10));
    /// # Ok::<(), captor::TaskError>(())
    /// ```
    pub fn sleep(&self, time: Duration) -> Sleep {
        Sleep::until(Arc::clone(self.host()), self.host().after(time))
    }

    /// Returns the time of this scheduler's clock. Deadlines, sleeps and timeouts go by this clock.
    /// The clock is `Instant::now()`, except in a simulation (feature `testing`), where time is
    /// virtual.
    ///
    /// ```
    /// use captor::{Resource, Scheduler};
    /// use std::time::Duration;
    ///
    /// let scheduler = Scheduler::builder().build()?;
    /// let soon = scheduler.now() + Duration::from_secs(1);
    /// scheduler.resource(0).task().deadline(soon).execute(|n| *n += 1)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn now(&self) -> Instant {
        self.host().now()
    }
}

/// A future that resolves at a certain time, from [`Scheduler::sleep`].
///
/// ```
/// # futures::executor::block_on(async {
/// captor::Scheduler::global().sleep(std::time::Duration::from_millis(1)).await;
/// # });
/// ```
#[must_use = "futures do nothing unless polled"]
pub struct Sleep {
    host: Arc<Host>,
    /// When the sleep ends. `None`: never.
    at: Option<Instant>,
    /// Made by the first poll that has to wait.
    bell: Option<Arc<Bell>>,
}

/// Stands between a sleep and its alarm. Each step takes the lock once:
///
/// - the timer thread rings, and takes the waker out to wake it;
/// - a poll of the sleep puts its waker in place of the old waker;
/// - the drop or the reset of the sleep takes the waker out to drop it.
///
/// So each waker is either woken, replaced or dropped. If the bell rings before the sleep listens,
/// the sleep finds `Over` and resolves.
struct Bell(Mutex<Rings>);

enum Rings {
    /// The sleep has not listened yet.
    Never,
    /// The sleep listens with this waker.
    For(Waker),
    /// The bell rang, or the sleep listens no more.
    Over,
}

impl Sleep {
    pub(crate) fn until(host: Arc<Host>, at: Option<Instant>) -> Self {
        Sleep {
            host,
            at,
            bell: None,
        }
    }

    /// Sets another time to wait for.
    pub(crate) fn reset(&mut self, at: Option<Instant>) {
        self.at = at;
        // The next poll that has to wait sets another alarm.
        self.let_go();
    }

    /// Gives the bell up, so that its alarm counts as over.
    fn let_go(&mut self) {
        if let Some(bell) = self.bell.take() {
            bell.forget();
        }
    }

    /// Returns the time of the scheduler's clock.
    pub(crate) fn now(&self) -> Instant {
        self.host.now()
    }

    /// Returns the time that the sleep waits for. `None`: never.
    pub(crate) fn at(&self) -> Option<Instant> {
        self.at
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let Some(at) = this.at else {
            // Keeps the waker. A suspended task without a waker would be cancelled.
            return this.bell.get_or_insert_with(Bell::new).listen(cx.waker());
        };
        if this.host.now() >= at {
            return Poll::Ready(());
        }
        if let Some(bell) = &this.bell {
            return bell.listen(cx.waker());
        }
        let bell = Bell::new();
        // This comes before the alarm is set: cloning a waker may panic, and a bell that is kept
        // must have an alarm.
        let polled = bell.listen(cx.waker());
        let ringing = Ringing {
            bell: Arc::clone(&bell),
            host: this.host.id().addr(),
        };
        this.bell = Some(bell);
        this.host.alarms.add(at, Box::new(ringing));
        polled
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.let_go();
    }
}

impl Bell {
    fn new() -> Arc<Self> {
        Arc::new(Bell(Mutex::new(Rings::Never)))
    }

    fn listen(&self, waker: &Waker) -> Poll<()> {
        // The clone, the wake and the drop of a waker are user code, and never run under the lock.
        let waker = waker.clone();
        let mut rings = lock(&self.0);
        if let Rings::Over = *rings {
            drop(rings);
            panics::contain("drop of a waker", || drop(waker));
            return Poll::Ready(());
        }
        let old = replace(&mut *rings, Rings::For(waker));
        drop(rings);
        panics::contain("drop of a waker", || drop(old));
        Poll::Pending
    }

    /// Drops the waker, since the sleep listens no more. The alarm may stay with the timer for
    /// long. The waker must not: as long as it exists, its task counts as a task that can be woken.
    fn forget(&self) {
        let old = replace(&mut *lock(&self.0), Rings::Over);
        panics::contain("drop of a waker", || drop(old));
    }
}

/// The alarm of a sleep. The timer keeps it until it is due, or until the timer throws away the
/// alarms that are over.
struct Ringing {
    bell: Arc<Bell>,
    /// The address of the scheduler whose timer thread rings. Never dereferenced.
    host: usize,
}

impl Alarm for Ringing {
    fn is_over(&self) -> bool {
        // The sleep has given the bell up.
        Arc::strong_count(&self.bell) == 1
    }

    fn ring(self: Box<Self>) {
        // The waker is user code, and is woken after the lock is released.
        let rings = replace(&mut *lock(&self.bell.0), Rings::Over);
        if let Rings::For(waker) = rings {
            // The timer thread must be back for the next alarm. In this frame, tasks that the waker
            // submits are queued for the pool.
            let timer = ptr::without_provenance(self.host);
            context::enter_without_tasks(timer, || panics::wake(waker));
        }
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep").field("until", &self.at).finish()
    }
}
