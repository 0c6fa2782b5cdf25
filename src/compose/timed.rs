//! Tasks that are queued at a time: [`Resource::submit_after`], [`Resource::every`].
//!
//! `submit_after` is a continuation on a time, made by `then::follow`. `every` attaches a stream of
//! ticks, with at most one tick in flight. Both await their resource's closing or end besides.

use crate::compose::attach::Attachment;
use crate::compose::then::{Antecedent, Other, follow};
use crate::error::TaskError;
use crate::future::closed::Closing;
use crate::future::completion::Completion;

use crate::raw::thread::panics;
use crate::raw::waiting::chain::{Origin, Upstream};
use crate::resource::Resource;
use crate::scheduler::sleep::Sleep;
use crate::sync::{Arc, Mutex, lock};
use futures_core::Stream;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

/// The shortest period between ticks.
const SHORTEST: Duration = Duration::from_micros(1);

/// Decides what happens to ticks for which there is no time. There is no time for a tick if the
/// resource is busy, or if the task of the tick before takes longer than a period.
///
/// Suppose that a tick was due at *t*, and that its task finished at *u*.
///
/// ```
/// use captor::{MissedTicks, Resource};
/// use std::time::Duration;
///
/// let r = Resource::new(0);
/// let ticks = r.every_with(Duration::from_millis(1), MissedTicks::Burst, |n| *n += 1);
/// # ticks.detach();
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum MissedTicks {
    /// Leaves missed ticks out. The next tick is due at the first of *t* + period,
    /// *t* + 2 × period, .. after *u*: a fixed rate.
    #[default]
    Skip,
    /// Catches up. The next tick is due at *t* + period, or at once if that time has passed. So
    /// missed ticks come one after the other until the count is right: a fixed rate.
    Burst,
    /// Keeps a pause. The next tick is due at *u* + period: a fixed delay.
    Delay,
}

/// # Timers
impl<T: Send + 'static> Resource<T> {
    /// Queues `f` after `time`. The resource is free meanwhile.
    ///
    /// `f` has its place in the order as if it were submitted when the time is over. Until then,
    /// the delayed task does not keep the resource alive. One thread, the scheduler's timer, waits
    /// for all delayed tasks. Each takes about 350 bytes, until it has finished or soon after it
    /// was cancelled.
    ///
    /// # Errors
    /// Errors arrive through the completion. When the time is over, the resource may refuse `f` as
    /// in [`submit`](Self::submit). A full queue refuses `f`. If the resource is closed or its last
    /// handle is dropped before that, the outcome is [`TaskError::Closed`], at once.
    ///
    /// # Cancellation
    /// [`Completion::cancel`] cancels the task, before or after it is queued. Dropping the
    /// completion leaves the task.
    ///
    /// ```
    /// use captor::Resource;
    /// use std::time::Duration;
    ///
    /// let r = Resource::new(1);
    /// let later = r.submit_after(Duration::from_millis(5), |n| *n);
    /// r.execute(|n| *n = 2)?;
    /// assert_eq!(later.wait(), Ok(2));
    /// # Ok::<(), captor::SubmitError>(())
    /// ```
    ///
    /// [`TaskError::Closed`]: crate::TaskError::Closed
    pub fn submit_after<R, F>(&self, time: Duration, f: F) -> Completion<R>
    where
        F: FnOnce(&mut T) -> R + Send + 'static,
        R: Send + 'static,
    {
        if let Some(error) = self.refusal_if_any() {
            return Completion::ready(Err(panics::refused(error, f)));
        }
        let host = self.core().host();
        let due = Due {
            sleep: Sleep::until(Arc::clone(host), host.after(time)),
            closing: self.closing(),
        };
        let there = Other::Weak(Arc::downgrade(self.core()));
        follow(due, there, self.core(), move |value, ()| f(value))
    }

    /// Calls `f` each `period`, each time as a task of its own. The first tick is due one period
    /// from now.
    ///
    /// At most one tick is in flight: a tick is submitted only when the task of the tick before has
    /// finished. Under load, a tick's task waits for its turn like any other task, so ticks may be
    /// late. Ticks for which there is no time are left out ([`MissedTicks::Skip`]).
    /// [`every_with`](Self::every_with) takes another [`MissedTicks`].
    ///
    /// The ticks do not keep the resource alive. They end when the resource is closed or its last
    /// handle is dropped. The shortest period is one microsecond: a shorter period counts as one
    /// microsecond. In the guide: [timers](crate::guide::timers).
    ///
    /// # Errors
    /// The [`Attachment`] resolves to the first error, as for [`attach`](Self::attach). A panic of
    /// `f` is such an error, and ends the ticks: no tick is in flight behind it. To go on after a
    /// panic, call `every` again.
    ///
    /// # Cancellation
    /// [`Attachment::detach`] ends the ticks. Dropping the [`Attachment`] leaves the ticks running.
    ///
    /// ```
    /// use captor::{Resource, TaskError};
    /// use std::time::Duration;
    ///
    /// let r = Resource::new(0);
    /// let ticks = r.every(Duration::from_millis(1), |n| *n += 1);
    /// while r.with(|n| *n)? < 3 {
    ///     std::thread::yield_now();
    /// }
    /// r.close();
    /// assert_eq!(ticks.wait(), Err(TaskError::Closed));
    /// # Ok::<(), TaskError>(())
    /// ```
    pub fn every<F>(&self, period: Duration, f: F) -> Attachment
    where
        F: FnMut(&mut T) + Send + 'static,
    {
        self.every_with(period, MissedTicks::default(), f)
    }

    /// Calls `f` each `period`, as [`every`](Self::every) does. `missed` decides what happens to
    /// ticks for which there is no time: a fixed rate, or a fixed delay after each task.
    ///
    /// ```
    /// use captor::{MissedTicks, Resource};
    /// use std::time::Duration;
    ///
    /// let r = Resource::new(0);
    /// let ticks = r.every_with(Duration::from_secs(1), MissedTicks::Delay, |n| *n += 1);
    /// ticks.detach();
    /// ```
    pub fn every_with<F>(&self, period: Duration, missed: MissedTicks, mut f: F) -> Attachment
    where
        F: FnMut(&mut T) + Send + 'static,
    {
        let period = period.max(SHORTEST);
        let host = Arc::clone(self.core().host());
        let ended = Arc::new(Mutex::new(None));
        let ticks = Ticks {
            sleep: Sleep::until(Arc::clone(&host), host.after(period)),
            ended: Arc::clone(&ended),
            period,
            missed,
            due: true,
        };
        self.attach_limited(1, ticks, move |value, ()| {
            f(value);
            *lock(&ended) = Some(host.now());
        })
    }
}

/// Comes at a time, or earlier when the resource is closed or gone.
struct Due {
    sleep: Sleep,
    closing: Closing,
}

impl Antecedent for Due {
    type Output = ();

    fn register(&mut self, waker: &Waker) -> bool {
        let cx = &mut Context::from_waker(waker);
        // The time is polled first. If it has passed, the task is due, and `into_outcome` finds out
        // whether the resource is closed.
        Pin::new(&mut self.sleep).poll(cx).is_pending()
            && Pin::new(&mut self.closing).poll(cx).is_pending()
    }

    fn into_outcome(self) -> Result<(), TaskError> {
        if self.closing.has_come() {
            return Err(TaskError::Closed);
        }
        Ok(())
    }

    fn origin(&self) -> Option<Origin> {
        None
    }
}

impl Upstream for Due {
    fn cancel(self: Box<Self>) -> Option<Box<dyn Upstream>> {
        None
    }
}

/// Returns what is left of `time` after as many whole periods as `time` has.
fn remainder(time: Duration, period: Duration) -> Duration {
    const SECOND: u128 = 1_000_000_000;
    let nanos = time.as_nanos() % period.as_nanos();
    // The remainder is at most `time`, so its seconds fit.
    Duration::new((nanos / SECOND) as u64, (nanos % SECOND) as u32)
}

/// A stream of ticks. The attachment polls the stream again only when the task of the last tick has
/// finished.
struct Ticks {
    sleep: Sleep,
    /// When the task of the last tick finished. The task notes the time, because the driver's next
    /// turn may come much later.
    ended: Arc<Mutex<Option<Instant>>>,
    period: Duration,
    missed: MissedTicks,
    /// `sleep` waits for the next tick. `false` after a tick, until the next poll sets the time of
    /// the next tick.
    due: bool,
}

impl Ticks {
    /// Returns when the next tick is due, after a tick that was due at `last`.
    fn next(&self, last: Instant) -> Option<Instant> {
        match self.missed {
            MissedTicks::Burst => last.checked_add(self.period),
            MissedTicks::Delay => {
                let ended = (*lock(&self.ended)).unwrap_or_else(|| self.sleep.now());
                ended.checked_add(self.period)
            }
            MissedTicks::Skip => {
                // From now, so that the next tick lies in the future.
                let late = self.sleep.now().saturating_duration_since(last);
                let whole = late - remainder(late, self.period);
                last.checked_add(whole)?.checked_add(self.period)
            }
        }
    }
}

impl Stream for Ticks {
    type Item = ();

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<()>> {
        let this = &mut *self;
        if !this.due {
            let next = this.sleep.at().and_then(|last| this.next(last));
            this.sleep.reset(next);
            this.due = true;
        }
        ready!(Pin::new(&mut this.sleep).poll(cx));
        this.due = false;
        Poll::Ready(Some(()))
    }
}
