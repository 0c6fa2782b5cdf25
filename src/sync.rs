//! The only way to `std::sync`. Under `--cfg captor_loom` and `--cfg captor_shuttle`, these names
//! are the model checkers' own.
//!
//! The protocol decides on [`AtomicPtr`], [`AtomicU32`], [`AtomicUsize`], [`UnsafeCell`], [`Mutex`]
//! and [`thread`], and the models check these types. [`Counter`], [`Gauge`] and [`StaticMutex`] are
//! from `std` in every build: no transition of the protocol's words depends on a counter, and a
//! model gains nothing from the interleavings of statistics. `Arc` is from `std` too, since loom
//! has no weak references. So the models see no edges through `Arc`, which makes the models
//! stricter.

#![allow(unsafe_code)]

pub(crate) use std::sync::atomic::Ordering;
#[cfg(not(any(captor_loom, captor_shuttle)))]
pub(crate) use std::sync::atomic::compiler_fence;
pub(crate) use std::sync::{Arc, Mutex as StaticMutex, OnceLock, Weak};

#[cfg(not(any(captor_loom, captor_shuttle)))]
mod imp {
    pub(crate) use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, fence};
    pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};
    pub(crate) use std::thread;
    pub(crate) use std::thread_local;
}

#[cfg(captor_loom)]
mod imp {
    pub(crate) use loom::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, fence};
    pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard};
    pub(crate) use loom::thread;
    pub(crate) use loom::thread_local;
}

#[cfg(captor_shuttle)]
mod imp {
    pub(crate) use shuttle::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, fence};
    pub(crate) use shuttle::sync::{Condvar, Mutex, MutexGuard};
    pub(crate) use shuttle::thread;
    pub(crate) use shuttle::thread_local;
}

pub(crate) use imp::*;

/// Whether this is a model checker's build, where every further look or turn multiplies the
/// schedules.
pub(crate) const MODEL: bool = cfg!(any(captor_loom, captor_shuttle));

/// A thread-local that all threads of one model share, because a checker runs them on one thread.
#[cfg(all(test, any(captor_loom, captor_shuttle)))]
pub(crate) use std::thread_local as os_thread_local;

/// Declares thread-locals with constant initialisers, like `thread_local!`. If the type has no
/// destructor, an access is a plain load. The checkers' macros do not know the `const { .. }` form.
macro_rules! thread_local_const {
    ($($(#[$attr:meta])* static $name:ident: $type:ty = $init:expr;)*) => {
        #[cfg(not(any(captor_loom, captor_shuttle)))]
        std::thread_local! { $($(#[$attr])* static $name: $type = const { $init };)* }
        #[cfg(any(captor_loom, captor_shuttle))]
        $crate::sync::thread_local! { $($(#[$attr])* static $name: $type = $init;)* }
    };
}
pub(crate) use thread_local_const;

/// `core::cell::UnsafeCell` behind the closure interface of loom's cell.
#[cfg(not(captor_loom))]
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct UnsafeCell<T: ?Sized>(core::cell::UnsafeCell<T>);

#[cfg(not(captor_loom))]
impl<T> UnsafeCell<T> {
    #[inline(always)]
    pub(crate) const fn new(value: T) -> Self {
        Self(core::cell::UnsafeCell::new(value))
    }
}

#[cfg(not(captor_loom))]
impl<T: ?Sized> UnsafeCell<T> {
    #[inline(always)]
    pub(crate) fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
        f(self.0.get())
    }

    #[inline(always)]
    pub(crate) fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
        f(self.0.get())
    }
}

#[cfg(captor_loom)]
pub(crate) use loom::cell::UnsafeCell;

/// Creates an atomic for sequentially consistent accesses only. loom does not count the initial
/// value as such an access, and would let a thread read that value again after any store.
pub(crate) fn sequential(value: usize) -> AtomicUsize {
    let atomic = AtomicUsize::new(value);
    #[cfg(captor_loom)]
    atomic.store(value, Ordering::SeqCst);
    atomic
}

/// Locks `mutex`, even if another thread panicked while it held the lock: the data behind this
/// crate's locks is valid at every step.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Lets other threads run, for a thread that must wait a moment.
#[inline]
pub(crate) fn yield_now() {
    thread::yield_now();
}

/// Sleeps for `time`. The model checkers have no clock: there, this call only lets other threads
/// run.
pub(crate) fn pause(time: core::time::Duration) {
    #[cfg(not(any(captor_loom, captor_shuttle)))]
    thread::sleep(time);
    #[cfg(any(captor_loom, captor_shuttle))]
    {
        let _ = time;
        yield_now();
    }
}

/// Checks whether this thread is unwinding.
pub(crate) fn is_panicking() -> bool {
    std::thread::panicking()
}

/// A counter for statistics. Each access is relaxed and orders nothing.
#[derive(Debug, Default)]
pub(crate) struct Counter(std::sync::atomic::AtomicU64);

impl Counter {
    pub(crate) const fn new() -> Self {
        Counter(std::sync::atomic::AtomicU64::new(0))
    }

    #[inline(always)]
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Adds by a load and a store instead of a read-modify-write. Must be called by the only thread
    /// that may write the counter now.
    #[inline(always)]
    pub(crate) fn bump_by(&self, n: u64) {
        self.0.store(self.get().wrapping_add(n), Ordering::Relaxed);
    }

    #[inline(always)]
    pub(crate) fn bump(&self) {
        self.bump_by(1);
    }

    /// Adds, and returns the sum. Any thread may call this.
    #[inline]
    pub(crate) fn add(&self, n: u64) -> u64 {
        self.0.fetch_add(n, Ordering::Relaxed).wrapping_add(n)
    }

    #[inline]
    pub(crate) fn sub(&self, n: u64) {
        self.0.fetch_sub(n, Ordering::Relaxed);
    }
}

/// A relaxed number of half the size, which orders nothing either.
#[derive(Debug, Default)]
pub(crate) struct Gauge(std::sync::atomic::AtomicU32);

impl Gauge {
    #[inline]
    pub(crate) fn get(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn set(&self, n: u32) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// Raises the number to `n` if it is lower. If not, this is a plain load.
    #[inline]
    pub(crate) fn raise(&self, n: u32) {
        if self.get() < n {
            self.0.fetch_max(n, Ordering::Relaxed);
        }
    }
}
