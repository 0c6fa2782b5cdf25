//! Keeps the spans of a thread away from the tasks that it runs for others.

use tracing::Span;

/// The spans that a thread was in; it is in them again when this is dropped.
#[derive(Debug)]
pub(crate) struct Detached(Vec<Span>);

/// How many nested spans are left at most; a guard against a subscriber whose
/// current span does not change.
const MAX: usize = 256;

/// Leaves all spans that this thread is in. Costs a look at a static where no
/// subscriber is installed.
pub(crate) fn detach() -> Detached {
    let mut left = Vec::new();
    while left.len() < MAX {
        let span = Span::current();
        if span.is_disabled() {
            break;
        }
        span.with_subscriber(|(id, subscriber)| subscriber.exit(id));
        left.push(span);
    }
    Detached(left)
}

impl Drop for Detached {
    fn drop(&mut self) {
        while let Some(span) = self.0.pop() {
            span.with_subscriber(|(id, subscriber)| subscriber.enter(id));
        }
    }
}
