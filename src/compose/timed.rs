//! Tasks that are queued at a time: [`Resource::submit_after`], [`Resource::every`].

use crate::compose::attach::Attachment;
use crate::compose::then::{Antecedent, Other, follow};
use crate::error::TaskError;
use crate::future::closed::Closing;
use crate::future::completion::Completion;

use crate::raw::thread::panics;
use crate::raw::waiting::chain::{Origin, Upstream};
use crate::resource::Resource;
use crate::scheduler::sleep::Sleep;
use crate::sync::Arc;
use futures_core::Stream;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

/// The shortest period.
const SHORTEST: Duration = Duration::from_micros(1);

/// What becomes of ticks for which there is no time: the resource is busy, or the task of
/// the tick before takes longer than a period.
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
    /// They are left out: the next tick is the next that is due, at the times that there
    /// were from the start. (Fixed rate.)
    #[default]
    Skip,
    /// They come one after the other, without a wait, until the count is right again.
    /// (Fixed rate.)
    Burst,
    /// The next tick comes a period after the last was worked off. (Fixed delay.)
    Delay,
}

impl<T: Send + 'static> Resource<T> {
    /// Queues `f` after this time. The resource is free meanwhile.
    ///
    /// Its place in the order is that of a task which is submitted at that time. It does
    /// not keep the resource alive. One thread, the scheduler's timer, waits for all;
    /// about 350 bytes each, until it is through or soon after it was cancelled.
    ///
    /// # Errors
    /// As for [`submit`](Self::submit), at that time: a full queue refuses it.
    /// [`TaskError::Closed`], at once, when
    /// the resource is closed or its last handle goes.
    ///
    /// # Cancellation
    /// [`Completion::cancel`]. Dropping the completion leaves it.
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

    /// Calls `f` each `period`, as a task of its own each time, for the first time after
    /// one. Ticks for which there is no time are left out ([`MissedTicks::Skip`];
    /// [`every_with`](Self::every_with) says otherwise).
    ///
    /// It does not keep the resource alive, and ends when that is closed, or its last
    /// handle goes. A period of less than a microsecond is one.
    ///
    /// # Errors
    /// Through the [`Attachment`], as for [`attach`](Self::attach): a panic of `f` ends it.
    ///
    /// # Cancellation
    /// [`Attachment::detach`]. Dropping that leaves it.
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

    /// [`every`](Self::every), with something else done about missed ticks: at a fixed
    /// rate, or with a fixed delay between one and the next.
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
        let host = self.core().host();
        let ticks = Ticks {
            sleep: Sleep::until(Arc::clone(host), host.after(period)),
            period,
            missed,
            due: true,
        };
        self.attach_limited(1, ticks, move |value, ()| f(value))
    }
}

/// A time, for as long as the resource is open.
struct Due {
    sleep: Sleep,
    closing: Closing,
}

impl Antecedent for Due {
    type Output = ();

    fn register(&mut self, waker: &Waker) -> bool {
        let cx = &mut Context::from_waker(waker);
        // The time first: by it, a task may be due that is not refused.
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

/// A stream of ticks. It is polled again once the task of the last tick is through.
struct Ticks {
    sleep: Sleep,
    period: Duration,
    missed: MissedTicks,
    /// `sleep` waits for the next.
    due: bool,
}

impl Ticks {
    /// When the next is due, after one that was due at `last`.
    fn next(&self, last: Instant) -> Option<Instant> {
        let now = self.sleep.now();
        match self.missed {
            MissedTicks::Burst => last.checked_add(self.period),
            MissedTicks::Delay => now.checked_add(self.period),
            MissedTicks::Skip => {
                let late = now.saturating_duration_since(last).as_nanos();
                let periods = late / self.period.as_nanos() + 1;
                let periods = u32::try_from(periods).unwrap_or(u32::MAX);
                last.checked_add(self.period.saturating_mul(periods))
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
