//! Two memory barriers that make a pair of which one costs nothing.
//!
//! [`light`] only keeps the compiler from reordering. [`heavy`] has every core
//! that runs a thread of this process execute a full barrier, so that each
//! `light` somewhere counts as a full one: before `heavy` or after it. Two
//! threads that each store, pass their barrier, and load what the other
//! stores, cannot both miss the other's store.
//!
//! By `membarrier(2)` on Linux; elsewhere there is no such pair
//! ([`is_available`]). The asymmetry is that of D. Dice, H. Huang and M. Yang,
//! "Asymmetric Dekker Synchronization", 2001; C++ proposes it as
//! `asymmetric_thread_fence_light` and `_heavy` (P1202).

#[cfg(any(captor_loom, captor_shuttle))]
mod imp {
    use crate::sync::{Ordering, fence};

    pub(crate) fn is_available() -> bool {
        true
    }

    /// The models look at the pair as what it stands for.
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

    /// Set where a call failed that had worked before.
    static FAILED: OnceLock<()> = OnceLock::new();

    fn membarrier(command: libc::c_int) -> bool {
        const NO_FLAGS: libc::c_uint = 0;
        const ANY_CPU: libc::c_int = 0;
        // SAFETY: it takes three numbers, and touches no memory of ours.
        unsafe { libc::syscall(libc::SYS_membarrier, command, NO_FLAGS, ANY_CPU) == 0 }
    }

    /// Asks the kernel at the first call.
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
        // It was available, and a sandbox that was set up since forbids it.
        // What is left is to wait until stores that are on their way must have
        // arrived: they take less than a microsecond.
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
