//! Room in a bounded resource, reserved before there is a task for it.

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
/// Where the resource has a [capacity](crate::ResourceBuilder::capacity), these
/// wait for room, first come first served, and no submission gets past who
/// waits. Where it has none, they succeed at once.
impl<T: Send + 'static> Resource<T> {
    /// Waits for room for one task.
    ///
    /// # Errors
    /// [`ReserveError::Closed`] or [`ReserveError::Poisoned`] if the resource
    /// refuses tasks, or comes to do so while this waits.
    ///
    /// # Cancellation
    /// The future takes its place in the line when it is first polled, and gives
    /// it up when it is dropped; room that it was given meanwhile goes to the
    /// next.
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

    /// Reserves room for one task if there is some.
    ///
    /// # Errors
    /// [`ReserveError::Full`], [`ReserveError::Closed`] or
    /// [`ReserveError::Poisoned`].
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

    /// [`reserve`](Self::reserve) that blocks the thread.
    ///
    /// # Errors
    /// As there, and [`ReserveError::WouldDeadlock`], where it is full, inside a
    /// task of this resource, or of one that a task of it waits for.
    ///
    /// # In async code
    /// It blocks the thread: use [`reserve`](Self::reserve) and `.await`.
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

    /// [`reserve_blocking`](Self::reserve_blocking), but for `timeout` at most.
    ///
    /// # Errors
    /// As there, and [`ReserveError::Timeout`].
    ///
    /// # In async code
    /// It blocks the thread: use [`reserve`](Self::reserve) in the runtime's timeout.
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
        // A deadline past the end of time is none.
        self.reserve().block(self.core().host().after(timeout))
    }
}

/// Nobody gets room in it now.
#[cold]
fn why_turned_away<T: ?Sized>(core: &Core<T>) -> ReserveError {
    // Poison may have been cleared since; closed is for ever.
    if core.refusal().closed {
        ReserveError::Closed
    } else {
        ReserveError::Poisoned
    }
}

/// Room for one task in a resource with a
/// [capacity](crate::ResourceBuilder::capacity); from
/// [`Resource::reserve`] and its kin.
///
/// What is submitted with it is not refused for want of room. It goes back when
/// that task starts or is cancelled, or when the permit is dropped. It says
/// nothing about order: tasks run in the order they are submitted in. What is
/// submitted with it has the resource's default priority, no deadline and no name.
///
/// It is a handle to the resource, and keeps its value alive. Closing the
/// resource refuses what is submitted with a permit too.
///
/// ```
/// let r = captor::Resource::builder().capacity(1).build(0)?;
/// let permit = r.try_reserve()?;
/// // To find out what is to be done may take its time.
/// let n = "7".parse::<i32>()?;
/// assert_eq!(permit.submit(move |total| { *total += n; *total }).wait()?, 7);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropping a permit gives the room back; submit with it"]
pub struct Permit<T> {
    resource: Resource<T>,
}

impl<T: Send + 'static> Permit<T> {
    /// [`Resource::submit`], with room reserved.
    ///
    /// # Errors
    /// Through the completion, as there, but never
    /// [`TaskError::Full`](crate::TaskError::Full).
    ///
    /// # Cancellation
    /// See [`Completion`]. Room comes back at once.
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

    /// [`Resource::execute`], with room reserved.
    ///
    /// # Errors
    /// As there, but never [`SubmitError::Full`].
    ///
    /// # Cancellation
    /// Only by [`cancel_pending`](Resource::cancel_pending), before it has started.
    /// Room comes back at once.
    ///
    /// ```
    /// let r = captor::Resource::builder().capacity(8).build(0)?;
    /// r.reserve_blocking()?.execute(|n| *n += 1)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn execute<R, F>(self, f: F) -> Result<(), SubmitError>
    where
        F: FnOnce(&mut T) -> R + Send + 'static,
    {
        let resource = self.resource.clone();
        resource.execute_as(self.into_task(f), None, Admission::Reserved)
    }

    /// The closure has the permit with it, and so the room comes back when it
    /// starts, or when it is dropped, whoever does that, and why.
    fn into_task<R, F>(self, f: F) -> impl FnOnce(&mut T) -> R + Send + 'static
    where
        F: FnOnce(&mut T) -> R + Send + 'static,
    {
        move |value: &mut T| {
            let resource = self.resource.core().id();
            // Whoever is woken for it is not called by this task.
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

/// Resolves to a [`Permit`]; from [`Resource::reserve`].
///
/// It is a handle to the resource, and keeps its value alive. Dropping it gives
/// up its place in the line, or the room that it was given.
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
    /// `None` once it was ready.
    resource: Option<Resource<T>>,
    /// Its place in the line, if it is in there.
    ticket: Option<Ticket>,
    awaited: Record,
}

impl<T: Send + 'static> Reserve<T> {
    /// Notes who awaits it.
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

    /// Gives up its place in the line, if it has one.
    fn leave(&mut self) {
        let place = self.resource.as_ref().zip(self.ticket.take());
        if let Some((resource, ticket)) = place {
            if let Some(room) = resource.core().room() {
                room.leave(ticket);
            }
        }
    }

    /// Is it in the line still?
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
    /// Blocks for it, until `deadline` at most.
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
    /// If polled again after it was ready.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Poll::Ready(got) = self.poll_room(cx) else {
            // What is queued starts once the task is through that awaits this.
            return match self.await_by(awaiter()) {
                Ok(()) => Poll::Pending,
                // It came just now.
                Err(WouldDeadlock) if !self.waits() => self.poll(cx),
                Err(WouldDeadlock) => {
                    self.leave();
                    Poll::Ready(Err(ReserveError::WouldDeadlock))
                }
            };
        };
        // Its ticket is worth nothing any more.
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

/// Has a waiter with this place in the line been given room, or been turned away?
fn is_next<T>(core: &Core<T>, ticket: Option<Ticket>) -> bool {
    let room = core.room().zip(ticket);
    room.is_none_or(|(room, ticket)| !room.is_waiting(ticket))
}
