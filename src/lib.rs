// Where README's links lead in rustdoc: of two definitions of a label the first counts,
// and those at README's end are for whoever reads it beside the source. The benchmark
// page has plots, which rustdoc would lose.
//! [guide]: crate::guide
//! [comparison]: crate::comparison
//! [design]: crate::design
//! [testing]: crate::how_it_is_tested
//! [benchmarks]: #how-fast
//!
#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod async_task;
mod attach;
mod batch;
mod builder;
mod completion;
mod current;
mod error;
// The pages of `docs/`, whose snippets are tests: in the documentation only, not in the
// library. As above, the guide's own definitions lead to the source.
#[cfg(any(doc, doctest))]
#[doc = include_str!("../docs/comparison.md")]
pub mod comparison {}
#[cfg(any(doc, doctest))]
#[doc = include_str!("../docs/design.md")]
pub mod design {}
#[cfg(any(doc, doctest))]
/// [Resource]: crate::Resource
/// [`Completion`]: crate::Completion
/// [`deadline`]: crate::TaskBuilder::deadline
/// [`cancel_token`]: crate::cancel_token()
/// [`TaskError`]: crate::TaskError
/// [`PanicPolicy`]: crate::PanicPolicy
/// [`priorities`]: crate::ResourceBuilder::priorities
/// [`WeakResource`]: crate::WeakResource
/// [current]: crate::current()
/// [`capacity`]: crate::ResourceBuilder::capacity
/// [`Permit`]: crate::Permit
/// [`submit_batch`]: crate::Resource::submit_batch
/// [`then`]: crate::Completion::then
/// [`Trigger`]: crate::Trigger
/// [`on_idle`]: crate::Resource::on_idle
/// [`submit_async`]: crate::Resource::submit_async
/// [`submit_steps`]: crate::Resource::submit_steps
/// [`submit_when`]: crate::Resource::submit_when
/// [`attach`]: crate::Resource::attach
/// [`Attachment`]: crate::Attachment
/// [`submit_after`]: crate::Resource::submit_after
/// [`every`]: crate::Resource::every
/// [`sleep`]: crate::Scheduler::sleep
/// [`sink`]: crate::Resource::sink
/// [`shutdown`]: crate::Scheduler::shutdown
/// [`ResourceStats`]: crate::ResourceStats
/// [`SchedulerStats`]: crate::SchedulerStats
/// [`ResourceBuilder`]: crate::ResourceBuilder
/// [`SchedulerBuilder`]: crate::SchedulerBuilder
/// [`Executor`]: crate::Executor
///
#[doc = include_str!("../docs/guide.md")]
pub mod guide {}
#[cfg(any(doc, doctest))]
#[doc = include_str!("../docs/testing.md")]
pub mod how_it_is_tested {}
#[cfg(feature = "io")]
pub mod io;
#[cfg(feature = "metrics")]
mod metrics;
#[cfg(all(test, any(captor_loom, captor_shuttle)))]
mod models;
mod on_their_way;
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
