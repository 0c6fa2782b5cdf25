//! Keeps the spans of a thread away from the tasks that the thread runs for other submitters, and
//! enters the spans of those tasks. Subscribers are user code, so their panics are contained here.

use crate::raw::thread::panics::log_safely;
use tracing::Span;
use tracing::level_filters::LevelFilter;

/// The spans that a thread has left. The thread enters them again when this is dropped.
#[derive(Debug)]
pub(crate) struct Detached(Vec<Span>);

/// The most nested spans that are left. This guards against a subscriber whose current span never
/// changes.
const MAX: usize = 256;

/// Leaves all spans that this thread is in. Without a subscriber, this costs one look at a static.
pub(crate) fn detach() -> Detached {
    let mut left = Detached(Vec::new());
    if LevelFilter::current() == LevelFilter::OFF {
        return left;
    }
    log_safely(|| {
        while left.0.len() < MAX {
            let span = Span::current();
            if span.is_disabled() {
                break;
            }
            span.with_subscriber(|(id, subscriber)| subscriber.exit(id));
            left.0.push(span);
        }
    });
    left
}

impl Drop for Detached {
    fn drop(&mut self) {
        while let Some(span) = self.0.pop() {
            log_safely(|| {
                span.with_subscriber(|(id, subscriber)| subscriber.enter(id));
                drop(span);
            });
        }
    }
}

/// A span that the thread is in until this is dropped.
#[derive(Debug)]
pub(crate) struct Within<'a>(&'a Span);

pub(crate) fn within(span: &Span) -> Within<'_> {
    log_safely(|| span.with_subscriber(|(id, subscriber)| subscriber.enter(id)));
    Within(span)
}

impl Drop for Within<'_> {
    fn drop(&mut self) {
        log_safely(|| (self.0).with_subscriber(|(id, subscriber)| subscriber.exit(id)));
    }
}
