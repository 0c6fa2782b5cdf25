#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod batch;
mod builder;
mod completion;
mod current;
mod error;
// Its snippets are tests. It is in the documentation only, not in the library.
#[cfg(any(doc, doctest))]
#[doc = include_str!("../docs/guide.md")]
pub mod guide {}
#[cfg(feature = "metrics")]
mod metrics;
#[cfg(all(test, any(captor_loom, captor_shuttle)))]
mod models;
mod permit;
mod pool;
mod raw;
mod resource;
mod scheduler;
mod stats;
mod sync;
mod termination;
mod then;
mod trigger;

pub use builder::{Ageing, Dispatch, PanicPolicy, ResourceBuilder, TaskBuilder};
pub use completion::Completion;
pub use current::{Current, ThreadKind, current};
pub use error::{
    BuildError, HealError, Panic, PriorityRange, ReserveError, ShutdownError, SubmitError,
    TaskError, TrySubmitError, Unfinished,
};
pub use permit::{Permit, Reserve};
pub use raw::cancel::{CancelToken, cancel_token};
pub use raw::inner::Job;
pub use resource::{Resource, WeakResource};
pub use scheduler::{Executor, Scheduler, SchedulerBuilder};
pub use stats::{QueueWaits, ResourceReport, ResourceStats, SchedulerStats};
pub use termination::{Closed, IntoInner};
pub use trigger::Trigger;
