// Where the links of README and of the pages lead in rustdoc. Of two definitions of a label
// the first counts, so these come before README's own, which lead to files.
#![doc = include_str!("../docs/links.md")]
#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod async_task;
mod attach;
mod batch;
mod builder;
mod completion;
mod current;
mod error;
#[cfg(feature = "io")]
pub mod io;
#[cfg(feature = "metrics")]
mod metrics;
#[cfg(all(test, any(captor_loom, captor_shuttle)))]
mod models;
mod on_their_way;
#[cfg(any(doc, doctest))]
mod pages;
mod permit;
mod pool;
mod raw;
mod resource;
mod scheduler;
mod sink;
mod sleep;
mod stats;
mod steps;
mod sync;
mod termination;
#[cfg(feature = "testing")]
#[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
pub mod testing;
mod then;
mod timed;
mod trigger;
mod when;

pub use attach::Attachment;
pub use builder::{Ageing, Dispatch, PanicPolicy, ResourceBuilder, TaskBuilder};
pub use completion::Completion;
pub use current::{Current, ThreadKind, current};
pub use error::{
    BuildError, HealError, Panic, PriorityRange, ReserveError, ShutdownError, SubmitError,
    TaskError, TrySubmitError, Unfinished,
};
#[cfg(any(doc, doctest))]
pub use pages::{comparison, design, guide, how_it_is_tested};
pub use permit::{Permit, Reserve};
pub use raw::cancel::{CancelToken, cancel_token};
pub use raw::future::AsyncTask;
pub use raw::inner::Job;
pub use resource::{Resource, WeakResource};
pub use scheduler::{Executor, Scheduler, SchedulerBuilder};
pub use sink::Commands;
pub use sleep::Sleep;
pub use stats::{QueueWaits, ResourceReport, ResourceStats, SchedulerStats};
pub use termination::{Closed, IntoInner};
pub use timed::MissedTicks;
pub use trigger::Trigger;
