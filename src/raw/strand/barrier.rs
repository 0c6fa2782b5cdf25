//! A pair of memory barriers: the heavy barrier pays, and the light barrier costs nothing.
//!
//! [`light`] only keeps the compiler from reordering. [`heavy`] makes every core that runs a thread
//! of this process execute a full barrier. So each `light` counts as a full barrier, which falls
//! before or after `heavy`. Let two threads each store to a word, pass a barrier, and load the
//! other thread's word. If one barrier is `light` and one is `heavy`, at least one thread sees the
//! other thread's store.
//!
//! On Linux, with glibc or musl, `heavy` is `membarrier(2)`. Elsewhere there is no such pair, and
//! [`is_available`] returns `false`.
//!
//! Sources: the asymmetry is that of D. Dice, H. Huang and M. Yang, "Asymmetric Dekker
//! Synchronization", 2001. C++ proposes the pair as `asymmetric_thread_fence_light` and
//! `asymmetric_thread_fence_heavy` (P1202).

#[cfg(any(captor_loom, captor_shuttle))]
mod imp {
    use crate::sync::{Ordering, fence};

    pub(crate) fn is_available() -> bool {
        true
    }

    /// A full fence: the models see the pair as what it stands for.
    pub(crate) fn light() {
        fence(Ordering::SeqCst);
    }

    pub(crate) fn heavy() {
        fence(Ordering::SeqCst);
    }
}

#[cfg(all(
    target_os = "linux",
    any(target_env = "gnu", target_env = "musl"),
    not(any(captor_loom, captor_shuttle, miri))
))]
mod imp {
    use crate::sync::{OnceLock, Ordering, compiler_fence, fence, pause};
    use core::time::Duration;

    /// Set when a call has failed that worked before.
    static FAILED: OnceLock<()> = OnceLock::new();

    fn membarrier(command: libc::c_int) -> bool {
        const NO_FLAGS: libc::c_uint = 0;
        const ANY_CPU: libc::c_int = 0;
        // SAFETY: `membarrier` takes three numbers, as the kernel expects, and touches no memory of
        // this process.
        unsafe { libc::syscall(libc::SYS_membarrier, command, NO_FLAGS, ANY_CPU) == 0 }
    }

    /// Checks whether the pair is available. The first call asks the kernel.
    pub(crate) fn is_available() -> bool {
        static REGISTERED: OnceLock<bool> = OnceLock::new();
        *REGISTERED.get_or_init(|| {
            membarrier(libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED)
                && membarrier(libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED)
        }) && FAILED.get().is_none()
    }

    #[inline(always)]
    pub(crate) fn light() {
        compiler_fence(Ordering::SeqCst);
    }

    #[cold]
    pub(crate) fn heavy() {
        if membarrier(libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED) {
            return;
        }
        // The call worked before, so a sandbox that was set up since forbids it. Wait instead until
        // stores that are on their way must have arrived: they take less than a microsecond.
        let _ = FAILED.set(());
        fence(Ordering::SeqCst);
        pause(Duration::from_millis(1));
    }
}

#[cfg(not(any(
    captor_loom,
    captor_shuttle,
    all(
        target_os = "linux",
        any(target_env = "gnu", target_env = "musl"),
        not(miri)
    )
)))]
mod imp {
    use crate::sync::{Ordering, fence};

    pub(crate) fn is_available() -> bool {
        false
    }

    pub(crate) fn light() {
        fence(Ordering::SeqCst);
    }

    pub(crate) fn heavy() {
        fence(Ordering::SeqCst);
    }
}

pub(crate) use imp::*;
