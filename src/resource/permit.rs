//! [`Permit`]: room in a bounded queue, reserved before there is a task for it.
//!
//! [`Reserve`] is the future of a permit. The blocking calls poll the same future, with a waker
//! that unparks the thread. The room itself is the core's (`raw::core::room`): a semaphore with a
//! line of waiters.

use crate::error::{ReserveError, SubmitError};
use crate::future::completion::Completion;
use crate::raw::core::Core;
use crate::raw::core::room::{Ticket, TurnedAway};
use crate::raw::submit::Admission;
use crate::raw::thread::context::{self, Kind};
use crate::raw::thread::deadlock::{Wait, WouldDeadlock};
use crate::raw::thread::park::thread_waker;
use crate::raw::waiting::awaiting::{Awaiter, Record, awaiter};
use crate::raw::waiting::wait::block_on;
use crate::resource::Resource;
use crate::sync::Arc;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

const POLLED_AGAIN: &str = "`Reserve` polled after completion";

/// # Back-pressure
///
/// If the resource has a [capacity](crate::ResourceBuilder::capacity), `reserve`,
/// `reserve_blocking` and `reserve_timeout` wait for room. Waiters get room in the order in which
/// they asked, and no submission overtakes a waiter. Without a capacity, these calls succeed at
/// once. In the guide: [waiting for room](crate::guide::back_pressure#waiting-for-room).
impl<T: Send + 'static> Resource<T> {
    /// Returns a future of room for one task.
    ///
    /// # Errors
    /// - [`ReserveError::Closed`] or [`ReserveError::Poisoned`] if the resource refuses tasks, or
    ///   starts to refuse tasks during the wait.
    /// - [`ReserveError::WouldDeadlock`] if the resource is full, and an asynchronous task of this
    ///   resource awaits the future. The same error comes back if the wait of an asynchronous task
    ///   would close a circle of waits across resources.
    ///
    /// # Cancellation
    /// The future takes its place in the line at its first poll, and gives the place up when
    /// dropped. If the dropped future has been given room, the room passes to the next waiter.
    ///
    /// ```
    /// # futures::executor::block_on(async {
    /// let jobs = captor::Resource::builder().capacity(100).build(Vec::new())?;
    /// for n in 0..1000 {
    ///     // Waits where the queue is full.
    ///     jobs.reserve().await?.execute(move |jobs| jobs.push(n))?;
    /// }
    /// assert_eq!(jobs.with(|jobs| jobs.len())?, 1000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    pub fn reserve(&self) -> Reserve<T> {
        Reserve {
            resource: Some(self.clone()),
            ticket: None,
            awaited: Record::default(),
        }
    }

    /// Reserves room for one task, if there is room now.
    ///
    /// # Errors
    /// [`ReserveError::Full`], [`ReserveError::Closed`] or [`ReserveError::Poisoned`].
    ///
    /// ```
    /// use captor::{Resource, ReserveError};
    ///
    /// let r = Resource::builder().capacity(1).build(0)?;
    /// let permit = r.try_reserve()?;
    /// assert_eq!(r.try_reserve().unwrap_err(), ReserveError::Full);
    /// permit.execute(|n| *n += 1)?;
    /// assert!(r.try_reserve().is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_reserve(&self) -> Result<Permit<T>, ReserveError> {
        let core = self.core();
        if core.strand().state().is_refusing() {
            return Err(why_turned_away(core));
        }
        if core.room().is_none_or(|room| room.try_take()) {
            Ok(Permit {
                resource: self.clone(),
            })
        } else {
            Err(ReserveError::Full)
        }
    }

    /// Blocks until there is room for one task, and reserves the room.
    ///
    /// # Errors
    /// - [`ReserveError::Closed`] or [`ReserveError::Poisoned`] if the resource refuses tasks, or
    ///   starts to refuse tasks during the wait.
    /// - [`ReserveError::WouldDeadlock`] if the resource is full, and the caller is inside a task
    ///   of this resource, or the wait would close a circle of waits across resources. Nothing was
    ///   submitted, so no task runs.
    ///
    /// # In async code
    /// `reserve_blocking` blocks the thread. Use [`reserve`](Self::reserve) and `.await`.
    ///
    /// ```
    /// let r = captor::Resource::builder().capacity(1).build(0)?;
    /// std::thread::scope(|s| {
    ///     for _ in 0..4 {
    ///         s.spawn(|| r.reserve_blocking().unwrap().execute(|n| *n += 1));
    ///     }
    /// });
    /// assert_eq!(r.with(|n| *n), Ok(4));
    /// # Ok::<(), captor::BuildError>(())
    /// ```
    pub fn reserve_blocking(&self) -> Result<Permit<T>, ReserveError> {
        self.reserve().block(None)
    }

    /// Blocks until there is room for one task, for at most `timeout`, and reserves the room.
    ///
    /// # Errors
    /// The errors of [`reserve_blocking`](Self::reserve_blocking), and [`ReserveError::Timeout`] if
    /// there was no room in time.
    ///
    /// # In async code
    /// `reserve_timeout` blocks the thread. Use [`reserve`](Self::reserve) in the runtime's
    /// timeout.
    ///
    /// ```
    /// use captor::{Resource, ReserveError};
    /// use std::time::Duration;
    ///
    /// let r = Resource::builder().capacity(1).build(())?;
    /// let permit = r.try_reserve()?;
    /// let late = r.reserve_timeout(Duration::from_millis(1));
    /// assert_eq!(late.unwrap_err(), ReserveError::Timeout);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reserve_timeout(&self, timeout: Duration) -> Result<Permit<T>, ReserveError> {
        // A deadline that `Instant` cannot represent is no deadline.
        self.reserve().block(self.core().host().after(timeout))
    }
}

/// Returns the reason why the resource gives out no room.
#[cold]
fn why_turned_away<T: ?Sized>(core: &Core<T>) -> ReserveError {
    // The poison may have been cleared since the refusal. A closed resource stays closed.
    if core.refusal().closed {
        ReserveError::Closed
    } else {
        ReserveError::Poisoned
    }
}

/// Room for one task in a resource with a [capacity](crate::ResourceBuilder::capacity); from
/// [`reserve`](Resource::reserve), [`try_reserve`](Resource::try_reserve),
/// [`reserve_blocking`](Resource::reserve_blocking) or
/// [`reserve_timeout`](Resource::reserve_timeout).
///
/// A task that is submitted with a permit is never refused as full. The room comes back when that
/// task starts or is cancelled, or when the permit is dropped. Permits say nothing about order:
/// tasks run in the order in which they are submitted. A task that is submitted with a permit has
/// the resource's default priority, no deadline and no name.
///
/// A permit is a handle to the resource, and keeps the value alive. A closed resource refuses tasks
/// with a permit too.
///
/// ```
/// let r = captor::Resource::builder().capacity(1).build(0)?;
/// let permit = r.try_reserve()?;
/// // The room is kept, however long it takes to make the task.
/// let n = "7".parse::<i32>()?;
/// assert_eq!(permit.submit(move |total| { *total += n; *total }).wait()?, 7);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropping a permit gives its room back; submit a task with the permit"]
pub struct Permit<T> {
    resource: Resource<T>,
}

impl<T: Send + 'static> Permit<T> {
    /// Submits `f` like [`Resource::submit`], with the reserved room.
    ///
    /// # Errors
    /// Errors arrive through the completion: [`TaskError::Closed`](crate::TaskError::Closed),
    /// [`TaskError::Poisoned`](crate::TaskError::Poisoned) or
    /// [`TaskError::Panicked`](crate::TaskError::Panicked), but never
    /// [`TaskError::Full`](crate::TaskError::Full).
    ///
    /// # Cancellation
    /// See [`Completion`]. If the task is cancelled, its room comes back at once.
    ///
    /// ```
    /// let r = captor::Resource::builder().capacity(8).build(20)?;
    /// assert_eq!(r.reserve_blocking()?.submit(|n| *n + 1).wait()?, 21);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn submit<R, F>(self, f: F) -> Completion<R>
    where
        F: FnOnce(&mut T) -> R + Send + 'static,
        R: Send + 'static,
    {
        let resource = self.resource.clone();
        resource.submit_as(self.into_task(f), None, Admission::Reserved)
    }

    /// Submits `f` like [`Resource::execute`], with the reserved room.
    ///
    /// # Errors
    /// [`SubmitError::Closed`] or [`SubmitError::Poisoned`], but never [`SubmitError::Full`].
    ///
    /// # Cancellation
    /// Only [`cancel_pending`](Resource::cancel_pending) and [`close_now`](Resource::close_now)
    /// cancel the task, before it has started. The room comes back at once.
    ///
    /// ```
    /// let r = captor::Resource::builder().capacity(8).build(0)?;
    /// r.reserve_blocking()?.execute(|n| *n += 1)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn execute<F>(self, f: F) -> Result<(), SubmitError>
    where
        F: FnOnce(&mut T) + Send + 'static,
    {
        let resource = self.resource.clone();
        resource.execute_as(self.into_task(f), None, Admission::Reserved)
    }

    /// Returns `f` as a closure that owns the permit. So the room comes back when the closure
    /// starts or is dropped, on any thread.
    fn into_task<R, F>(self, f: F) -> impl FnOnce(&mut T) -> R + Send + 'static
    where
        F: FnOnce(&mut T) -> R + Send + 'static,
    {
        move |value: &mut T| {
            let resource = self.resource.core().id();
            // The drop of the permit may wake a waiter. The waker is no part of this task.
            context::enter(resource, Kind::Aside, || drop(self));
            f(value)
        }
    }
}

impl<T> Drop for Permit<T> {
    fn drop(&mut self) {
        if let Some(room) = self.resource.core().room() {
            room.give_back();
        }
    }
}

impl<T> fmt::Debug for Permit<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("resource", &self.resource)
            .finish()
    }
}

/// A future of a [`Permit`]; from [`Resource::reserve`].
///
/// The future is a handle to the resource, and keeps the value alive. Dropping the future gives up
/// its place in the line, or the room that it was given.
///
/// ```
/// # futures::executor::block_on(async {
/// let r = captor::Resource::builder().capacity(1).build(0)?;
/// let permit = r.try_reserve()?;
/// let next = r.reserve();
/// drop(permit);
/// next.await?.execute(|n| *n += 1)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[must_use = "futures do nothing unless polled"]
pub struct Reserve<T> {
    /// `None` once the future was ready.
    resource: Option<Resource<T>>,
    /// The future's place in the line, if it has a place.
    ticket: Option<Ticket>,
    awaited: Record,
}

impl<T: Send + 'static> Reserve<T> {
    /// Records that the asynchronous task `by` awaits the room, or that no task does.
    fn await_by(&mut self, by: Option<Awaiter>) -> Result<(), WouldDeadlock> {
        let Some(ticket) = self.ticket else {
            self.awaited.clear();
            return Ok(());
        };
        let core = Arc::clone(self.core());
        let id = core.id();
        self.awaited.note(by, id, |by| {
            Box::new(move || by.is_through() || is_next(&core, Some(ticket)))
        })
    }
}

impl<T> Reserve<T> {
    #[track_caller]
    fn core(&self) -> &Arc<Core<T>> {
        self.resource.as_ref().expect(POLLED_AGAIN).core()
    }

    /// Gives up the place in the line, if the future has a place.
    fn leave(&mut self) {
        let place = self.resource.as_ref().zip(self.ticket.take());
        if let Some((resource, ticket)) = place {
            if let Some(room) = resource.core().room() {
                room.leave(ticket);
            }
        }
    }

    /// Checks whether the future still has its place in the line.
    fn waits(&self) -> bool {
        !is_next(self.core(), self.ticket)
    }

    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TurnedAway>> {
        let core = self.core();
        let refuses = || core.strand().state().is_refusing();
        match (core.room(), self.ticket) {
            (Some(room), Some(ticket)) => room.poll(ticket, cx.waker()),
            _ if refuses() => Poll::Ready(Err(TurnedAway)),
            (None, _) => Poll::Ready(Ok(())),
            (Some(room), None) if room.try_take() => Poll::Ready(Ok(())),
            (Some(room), None) => match room.take_or_wait(cx.waker(), refuses) {
                Ok(None) => Poll::Ready(Ok(())),
                Ok(ticket) => {
                    self.ticket = ticket;
                    Poll::Pending
                }
                Err(error) => Poll::Ready(Err(error)),
            },
        }
    }
}

impl<T: Send + 'static> Reserve<T> {
    /// Blocks until there is room, or until `deadline`.
    fn block(mut self, deadline: Option<Instant>) -> Result<Permit<T>, ReserveError> {
        if let Poll::Ready(got) =
            Pin::new(&mut self).poll(&mut Context::from_waker(&thread_waker()))
        {
            return got;
        }
        let core = Arc::clone(self.core());
        let ticket = self.ticket;
        let has_come = || is_next(&core, ticket);
        let Ok(_wait) = Wait::begin(core.id(), &has_come) else {
            return Err(ReserveError::WouldDeadlock);
        };
        block_on(&core, deadline, |cx| Pin::new(&mut self).poll(cx)).unwrap_or(Err(
            match deadline {
                Some(_) => ReserveError::Timeout,
                None => ReserveError::WouldDeadlock,
            },
        ))
    }
}

impl<T: Send + 'static> Future for Reserve<T> {
    type Output = Result<Permit<T>, ReserveError>;

    /// # Panics
    /// If polled again after the future was ready.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Poll::Ready(got) = self.poll_room(cx) else {
            // Room comes back when a queued task starts. If the awaiting task must finish first,
            // the wait is refused.
            return match self.await_by(awaiter()) {
                Ok(()) => Poll::Pending,
                // The room came between the poll and the record.
                Err(WouldDeadlock) if !self.waits() => self.poll(cx),
                Err(WouldDeadlock) => {
                    self.leave();
                    Poll::Ready(Err(ReserveError::WouldDeadlock))
                }
            };
        };
        // Served or turned away: the ticket, if any, is void.
        self.ticket = None;
        self.awaited.clear();
        let why = got.map_err(|TurnedAway| why_turned_away(self.core()));
        let resource = self.resource.take().expect(POLLED_AGAIN);
        Poll::Ready(why.map(|()| Permit { resource }))
    }
}

impl<T> Drop for Reserve<T> {
    fn drop(&mut self) {
        self.leave();
    }
}

impl<T> fmt::Debug for Reserve<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reserve")
            .field("resource", &self.resource)
            .finish_non_exhaustive()
    }
}

/// Checks whether the waiter with this place in the line has been given room or turned away.
fn is_next<T>(core: &Core<T>, ticket: Option<Ticket>) -> bool {
    let room = core.room().zip(ticket);
    room.is_none_or(|(room, ticket)| !room.is_waiting(ticket))
}
