// The crate's documentation is README. `docs/links.md` defines where README's links lead in
// rustdoc. If a label has two definitions, the first definition counts. So `links.md` comes before
// README, whose own definitions lead to files.
#![doc = include_str!("../docs/links.md")]
#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

// Before `compose`, so that rustdoc lists the calls of a resource before those that are built
// from them.
mod resource;

mod compose;
mod error;
mod future;
#[cfg(feature = "io")]
pub mod io;
#[cfg(all(test, any(captor_loom, captor_shuttle)))]
mod models;
#[cfg(any(doc, doctest))]
mod pages;
mod pool;
mod raw;
mod scheduler;
mod stats;
mod sync;
#[cfg(feature = "testing")]
#[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
pub mod testing;

pub use compose::attach::Attachment;
pub use compose::sink::Commands;
pub use compose::timed::MissedTicks;
pub use compose::trigger::Trigger;
pub use error::{
    BuildError, HealError, Panic, PriorityRange, ReserveError, ShutdownError, SubmitError,
    TaskError, TrySubmitError, Unfinished,
};
pub use future::closed::{Closed, IntoInner};
pub use future::completion::Completion;
#[cfg(any(doc, doctest))]
pub use pages::{comparison, design, guide, how_it_is_tested};
pub use raw::core::Job;
pub use raw::core::stop::CancelToken;
pub use raw::ending::stop::cancel_token;
pub use raw::task::future::AsyncTask;
pub use resource::Resource;
pub use resource::builder::ResourceBuilder;
pub use resource::current::{Current, ThreadKind, current};
pub use resource::permit::{Permit, Reserve};
pub use resource::settings::{Ageing, Dispatch, PanicPolicy};
pub use resource::task_builder::TaskBuilder;
pub use resource::weak::WeakResource;
pub use scheduler::Scheduler;
pub use scheduler::builder::SchedulerBuilder;
pub use scheduler::executor::Executor;
pub use scheduler::sleep::Sleep;
pub use stats::{QueueWaits, ResourceReport, ResourceStats, SchedulerStats};
