//! What a task is called and how it is to be treated: what its submitter says
//! of it, and what goes with it into the queue.

use crate::raw::panics;
use tracing::Span;
use tracing::level_filters::LevelFilter;

/// What a task is called in the log.
pub(crate) type TaskName = Option<&'static str>;

/// What a submitter says of a task. Most say nothing at all.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Attributes {
    pub(crate) name: TaskName,
    /// Its priority, which the resource has.
    pub(crate) level: Option<u8>,
}

/// Attributes, where a submitter gave some.
pub(crate) type Given<'a> = Option<&'a Attributes>;

pub(crate) fn name(given: Given<'_>) -> TaskName {
    given.and_then(|attributes| attributes.name)
}

/// What goes with a task that is queued.
#[derive(Debug, Default)]
pub(crate) struct Tag {
    pub(crate) level: u8,
    pub(crate) meta: Option<Box<Meta>>,
}

impl Tag {
    #[inline]
    pub(crate) fn new(given: Given<'_>, level: u8) -> Self {
        // One look at a static where no subscriber is installed.
        if given.is_none() && LevelFilter::current() == LevelFilter::OFF {
            return Tag { level, meta: None };
        }
        Tag::described(given, level)
    }

    #[cold]
    fn described(given: Given<'_>, level: u8) -> Self {
        let name = name(given);
        let span = Span::current();
        let meta = (name.is_some() || !span.is_disabled()).then(|| Box::new(Meta { name, span }));
        Tag { level, meta }
    }
}

/// What few tasks have: a name, a span under which they were submitted.
#[derive(Debug)]
pub(crate) struct Meta {
    pub(crate) name: TaskName,
    pub(crate) span: Span,
}

/// Closing a span calls its subscriber.
impl Drop for Meta {
    fn drop(&mut self) {
        let span = core::mem::replace(&mut self.span, Span::none());
        panics::tell(|| drop(span));
    }
}

/// A task that runs, to those who ask what runs here.
pub(crate) trait Described {
    fn name(&self) -> TaskName;
    /// Its priority; `None`: what the resource says.
    fn level(&self) -> Option<u8>;
}

impl Described for Attributes {
    fn name(&self) -> TaskName {
        self.name
    }

    fn level(&self) -> Option<u8> {
        self.level
    }
}
