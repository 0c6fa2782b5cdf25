//! What callers hold and await.

pub(crate) mod closed;
pub(crate) mod completion;
