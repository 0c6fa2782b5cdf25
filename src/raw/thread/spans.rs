//! Keeps the spans of a thread away from the tasks that it runs for others, and
//! enters those of the tasks. Subscribers are user code: their panics end here.

use crate::raw::thread::panics::tell;
use tracing::Span;
use tracing::level_filters::LevelFilter;

/// The spans that a thread was in; it is in them again when this is dropped.
#[derive(Debug)]
pub(crate) struct Detached(Vec<Span>);

/// How many nested spans are left at most; a guard against a subscriber whose
/// current span does not change.
const MAX: usize = 256;

/// Leaves all spans that this thread is in. Costs a look at a static where no
/// subscriber is installed.
pub(crate) fn detach() -> Detached {
    let mut left = Detached(Vec::new());
    if LevelFilter::current() == LevelFilter::OFF {
        return left;
    }
    tell(|| {
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
            tell(|| {
                span.with_subscriber(|(id, subscriber)| subscriber.enter(id));
                drop(span);
            });
        }
    }
}

/// The thread is in this span until it is dropped.
#[derive(Debug)]
pub(crate) struct Within<'a>(&'a Span);

pub(crate) fn within(span: &Span) -> Within<'_> {
    tell(|| span.with_subscriber(|(id, subscriber)| subscriber.enter(id)));
    Within(span)
}

impl Drop for Within<'_> {
    fn drop(&mut self) {
        tell(|| (self.0).with_subscriber(|(id, subscriber)| subscriber.exit(id)));
    }
}
