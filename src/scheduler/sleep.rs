//! [`Scheduler::sleep`]: waiting for a time, without a runtime.

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
    /// Resolves after this time, by the scheduler's timer: one thread for all that has to
    /// do with time, started at the first use. For [asynchronous
    /// tasks](crate::Resource::submit_async), or anywhere else.
    ///
    /// The time begins now. A time past the end of time never comes. O(log n) for n alarms,
    /// on that thread.
    ///
    /// # Cancellation
    /// Dropping it is free of consequences.
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

    /// The time that deadlines and all else of this scheduler go by: `Instant::now()`,
    /// or, in a simulation (feature `testing`), what that says.
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

/// Resolves at a certain time; from [`Scheduler::sleep`].
///
/// ```
/// # futures::executor::block_on(async {
/// captor::Scheduler::global().sleep(std::time::Duration::from_millis(1)).await;
/// # });
/// ```
#[must_use = "futures do nothing unless polled"]
pub struct Sleep {
    host: Arc<Host>,
    /// `None`: never.
    at: Option<Instant>,
    /// There once it was polled.
    bell: Option<Arc<Bell>>,
}

/// Between who sleeps and the timer: each of ring, another waker, and letting go is one
/// step under its lock, so a waker is woken, or replaced, or dropped, and only one of
/// those. What rang before somebody listens is found by them.
struct Bell(Mutex<Rings>);

enum Rings {
    /// Nobody has listened yet.
    Never,
    For(Waker),
    /// It rang, or nobody listens any more.
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

    /// Waits again, until another time.
    pub(crate) fn reset(&mut self, at: Option<Instant>) {
        self.at = at;
        // The alarm of the next poll is another.
        self.let_go();
    }

    /// Nobody waits for the alarm that was set, if one was.
    fn let_go(&mut self) {
        if let Some(bell) = self.bell.take() {
            bell.forget();
        }
    }

    /// The time now, by the clock that it goes by.
    pub(crate) fn now(&self) -> Instant {
        self.host.now()
    }

    /// The time that it waits for.
    pub(crate) fn at(&self) -> Option<Instant> {
        self.at
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let Some(at) = this.at else {
            // A waker that is kept, so that whoever waits is not given up.
            return this.bell.get_or_insert_with(Bell::new).listen(cx.waker());
        };
        if this.host.now() >= at {
            return Poll::Ready(());
        }
        if let Some(bell) = &this.bell {
            return bell.listen(cx.waker());
        }
        let bell = Bell::new();
        // First of all: cloning a waker may panic, and a bell is kept with its alarm.
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
        // Wakers are user code, and never run under the lock.
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

    /// Nobody listens any more. The alarm may stay with the timer for long, but not the
    /// waker: as long as there is one, a task counts as one that may still be woken.
    fn forget(&self) {
        let old = replace(&mut *lock(&self.0), Rings::Over);
        panics::contain("drop of a waker", || drop(old));
    }
}

/// What the timer has of it, until then or until it throws away what is over.
struct Ringing {
    bell: Arc<Bell>,
    /// Whose timer it is: an address, which nobody follows.
    host: usize,
}

impl Alarm for Ringing {
    fn is_over(&self) -> bool {
        // Nobody waits any more.
        Arc::strong_count(&self.bell) == 1
    }

    fn ring(self: Box<Self>) {
        // Not under the lock: it is user code.
        let rings = replace(&mut *lock(&self.bell.0), Rings::Over);
        if let Rings::For(waker) = rings {
            // This thread is to be back for the next alarm, and runs no tasks.
            let timer = ptr::without_provenance(self.host);
            context::enter_apart(timer, || panics::wake(waker));
        }
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep").field("until", &self.at).finish()
    }
}
