//! The pages of `docs/` as modules of the documentation. So rustdoc shows the pages, and their
//! snippets are tests. These modules exist only when rustdoc runs, and are not in the library.

/// Makes a module for each page. `docs/links.md` comes before each page, so that its definitions of
/// links count and not the page's own, as in `lib.rs`.
macro_rules! pages {
    ($($page:literal => $name:ident,)*) => {$(
        #[doc = include_str!("../docs/links.md")]
        #[doc = include_str!(concat!("../docs/", $page, ".md"))]
        pub mod $name {}
    )*};
}

pages! {
    "comparison" => comparison,
    "testing" => how_it_is_tested,
}

#[doc = include_str!("../docs/links.md")]
#[doc = include_str!("../docs/guide/README.md")]
pub mod guide {
    pages! {
        "guide/first-steps" => first_steps,
        "guide/waiting" => waiting,
        "guide/deadlines-and-cancellation" => deadlines_and_cancellation,
        "guide/errors-and-panics" => errors_and_panics,
        "guide/order-and-priorities" => order_and_priorities,
        "guide/inside-a-task" => inside_a_task,
        "guide/back-pressure" => back_pressure,
        "guide/batches-and-continuations" => batches_and_continuations,
        "guide/coalescing" => coalescing,
        "guide/tasks-that-wait" => tasks_that_wait,
        "guide/steps-and-events" => steps_and_events,
        "guide/timers" => timers,
        "guide/streams" => streams,
        "guide/life-cycle" => life_cycle,
        "guide/statistics" => statistics,
        "guide/settings" => settings,
        "guide/async-code" => async_code,
        "guide/patterns" => patterns,
    }
}

#[doc = include_str!("../docs/links.md")]
#[doc = include_str!("../docs/design/README.md")]
pub mod design {
    pages! {
        "design/protocol" => protocol,
        "design/lane" => lane,
        "design/waiting" => waiting,
        "design/tasks" => tasks,
        "design/composed" => composed,
        "design/room-and-priorities" => room_and_priorities,
        "design/timers" => timers,
        "design/tasks-that-wait" => tasks_that_wait,
        "design/resources" => resources,
        "design/guarantees" => guarantees,
        "design/dependencies" => dependencies,
        "design/figures" => figures,
    }
}
