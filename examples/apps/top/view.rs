//! How the dashboard is drawn. 80 columns and 24 lines are enough for everything. On a smaller
//! screen, the least important parts are left out, and no part is cut.

use crate::PERIOD;
use crate::load::Knobs;
use crate::model::{Model, Row};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::Line;
use ratatui::widgets::{Block, Paragraph, Sparkline, Table, TableState};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

pub(crate) const KEYS: [&str; 6] = [
    "q quit (Esc)",
    "j/k select",
    "+/- producers",
    "f/s faster/slower",
    "b bursts",
    "p pause",
];

/// The explanations of the columns and of "dispatched". The last line is the last to be left out.
const LEGEND: [&[&str]; 2] = [
    &[
        "LENT% = time spent on others' tasks, of a core",
        "dispatched = jobs for workers",
    ],
    &[
        "OUTST. = queued + running",
        "red = refuses tasks",
        "WAIT99 = 99 % wait no longer",
    ],
];

pub(crate) fn legend(width: u16) -> [String; 2] {
    LEGEND.map(|parts| fit(parts, "  ", width))
}

/// A figure of a resource.
pub(crate) struct Column {
    pub(crate) head: &'static str,
    /// The width that the head and the figures need.
    pub(crate) width: u16,
    /// Columns of a higher rank are left out first.
    rank: u8,
    figure: fn(&Row) -> String,
}

const fn column(head: &'static str, width: u16, rank: u8, figure: fn(&Row) -> String) -> Column {
    Column {
        head,
        width,
        rank,
        figure,
    }
}

/// The columns to the right of the name, from left to right.
const COLUMNS: [Column; 7] = [
    column("OUTST.", 6, 0, |row| short(row.stats.outstanding as f64)),
    column("TASKS/S", 7, 1, |row| short(row.rate)),
    column("REFUSED", 7, 3, |row| short(row.refused)),
    column("EXPIRED", 7, 5, |row| short(row.expired)),
    column("HANDOFF", 7, 4, |row| short(row.handoffs)),
    column("LENT%", 5, 6, |row| format!("{:.0}", 100.0 * row.lent)),
    column("WAIT99", 6, 2, |row| wait(row, 0.99)),
];

const NAME: u16 = 9;

/// The least width of the last column, which holds the small charts.
const LATELY: u16 = 6;

/// Returns the most important columns that fit into `width`.
pub(crate) fn columns(width: u16) -> Vec<&'static Column> {
    let mut shown: Vec<_> = COLUMNS.iter().collect();
    while taken(&shown) > width && !shown.is_empty() {
        let last = shown.iter().map(|column| column.rank).max();
        shown.retain(|column| Some(column.rank) != last);
    }
    shown
}

fn taken(columns: &[&Column]) -> u16 {
    NAME + columns.iter().map(|c| c.width + 1).sum::<u16>()
}

/// Returns the heads of these columns as text.
pub(crate) fn heads(columns: &[&Column]) -> Vec<String> {
    let name = format!("{:1$}", "RESOURCE", usize::from(NAME));
    let heads = columns.iter().map(|c| right(c.head, c.width));
    std::iter::once(name).chain(heads).collect()
}

/// Returns the cells of a row as text.
pub(crate) fn cells(row: &Row, columns: &[&Column]) -> Vec<String> {
    let name = format!("{:1$.1$}", row.name, usize::from(NAME));
    let figures = columns.iter().map(|c| right(&(c.figure)(row), c.width));
    std::iter::once(name).chain(figures).collect()
}

fn right(text: &str, width: u16) -> String {
    format!("{text:>0$}", usize::from(width))
}

/// Joins the first parts, as many as fit into `width`.
fn fit<T: AsRef<str>>(parts: &[T], between: &str, width: u16) -> String {
    let mut line = String::new();
    for part in parts.iter().map(AsRef::as_ref) {
        let between = if line.is_empty() { "" } else { between };
        let length = [&line, between, part].map(|s| s.chars().count());
        if length.iter().sum::<usize>() > usize::from(width) {
            break;
        }
        line.extend([between, part]);
    }
    line
}

pub(crate) fn draw(frame: &mut Frame<'_>, model: &Model, knobs: &Knobs, selected: &mut TableState) {
    let area = frame.area();
    let [head, table, detail, foot] = areas(area, model.rows.len());
    frame.render_widget(header(model, knobs, area.width), head);
    draw_table(frame, model, selected, table);
    draw_detail(frame, model, selected.selected().unwrap_or(0), detail);
    // The keys are the last line to be left out.
    let keys = fit(&KEYS, "  ", area.width);
    let lines: Vec<_> = legend(area.width).into_iter().chain([keys]).collect();
    let skip = lines.len().saturating_sub(foot.height.into());
    let lines = lines.into_iter().skip(skip).map(Line::from);
    frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()).dim(), foot);
}

/// Returns the areas of the header, the table, the selected resource and the footer. On a short
/// screen the table is scrolled. On a very short screen the table takes the room of the other
/// areas.
fn areas(area: Rect, rows: usize) -> [Rect; 4] {
    const DETAIL: u16 = 5;
    let (head, foot) = match area.height {
        0..6 => (0, 1),
        6..12 => (2, 1),
        12..20 => (2, 2),
        _ => (3, 3),
    };
    let left = area.height.saturating_sub(head + foot);
    let detail = if left >= 2 * DETAIL { DETAIL } else { 0 };
    let all = u16::try_from(rows + 1).unwrap_or(u16::MAX);
    let table = match detail {
        0 => left,
        _ => all.min(left - detail),
    };
    Layout::vertical([
        Constraint::Length(head),
        Constraint::Length(table),
        Constraint::Length(left - table),
        Constraint::Length(foot),
    ])
    .areas(area)
}

fn header(model: &Model, knobs: &Knobs, width: u16) -> Paragraph<'static> {
    let scheduler = &model.scheduler;
    let state = match (knobs.paused.load(Relaxed), knobs.bursts.load(Relaxed)) {
        (true, _) => "paused",
        (false, true) => "in bursts",
        (false, false) => "steady",
    };
    let outstanding = model.sum(|row| row.stats.outstanding as f64);
    let load = [
        format!("captor {} tasks/s", short(model.sum(|row| row.rate))),
        format!("{} outstanding", short(outstanding)),
        format!("{} producers ({state})", knobs.producers.load(Relaxed)),
        format!("tasks of {} µs", knobs.task.load(Relaxed)),
    ];
    let threads = [
        format!("workers {}", scheduler.workers),
        format!("threads {} ({} idle)", scheduler.threads, scheduler.idle),
        format!("lent {:.0} % CPU", 100.0 * model.sum(|row| row.lent)),
        dispatched(model),
    ];
    Paragraph::new(vec![
        Line::from(fit(&load, ", ", width)).bold(),
        Line::from(fit(&threads, ", ", width)),
    ])
}

/// The number of jobs that were given to the workers.
pub(crate) fn dispatched(model: &Model) -> String {
    format!(
        "dispatched {} since start",
        short(model.scheduler.dispatched as f64)
    )
}

fn draw_table(frame: &mut Frame<'_>, model: &Model, selected: &mut TableState, area: Rect) {
    let columns = columns(area.width);
    let lately = area.width.saturating_sub(taken(&columns) + 1);
    // If the last column would be too narrow, it is left out and takes no room.
    let lately = Some(lately).filter(|width| *width >= LATELY);
    let widths = std::iter::once(NAME).chain(columns.iter().map(|c| c.width));
    let widths = widths.chain(lately).map(Constraint::Length);
    let heads = heads(&columns).into_iter();
    let heads = heads.chain(lately.map(|_| "LATELY".to_owned()));
    let rows = model.rows.iter().map(|row| {
        let cells = cells(row, &columns).into_iter();
        let style = match row.refused > 0.0 {
            true => Style::new().fg(Color::Red),
            false => Style::new(),
        };
        let spark = lately.map(|width| spark(row, width.into()));
        ratatui::widgets::Row::new(cells.chain(spark)).style(style)
    });
    let table = Table::new(rows, widths)
        .header(ratatui::widgets::Row::new(heads).bold())
        .row_highlight_style(Style::new().reversed());
    // If there is more room again, no line stays empty after the last row.
    let room = usize::from(area.height.saturating_sub(1));
    let most = model.rows.len().saturating_sub(room);
    *selected.offset_mut() = selected.offset().min(most);
    frame.render_stateful_widget(table, area, selected);
}

/// Draws the latest rates, as many as fit into `width`.
fn spark(row: &Row, width: usize) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let most = row.history.iter().copied().max().unwrap_or(0).max(1);
    let skip = row.history.len().saturating_sub(width);
    let bar = |n: &u64| BARS[(n * 7 / most) as usize];
    row.history.iter().skip(skip).map(bar).collect()
}

fn draw_detail(frame: &mut Frame<'_>, model: &Model, at: usize, area: Rect) {
    let Some(row) = model.rows.get(at).filter(|_| area.height > 0) else {
        return;
    };
    let title = format!(" {}, {} of {} ", row.name, at + 1, model.rows.len());
    let block = Block::bordered().title(title);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let caption = u16::from(inner.height > 3);
    let parts = [
        Constraint::Length(2),
        Constraint::Length(caption),
        Constraint::Min(1),
    ];
    let [text, caption, graph] = Layout::vertical(parts).areas(inner);
    let ever = [
        format!("since start: {} tasks", short(row.stats.completed as f64)),
        format!("the longest ran {}", time(row.stats.longest_task)),
        format!("{} outst. at most", short(row.stats.max_outstanding as f64)),
    ];
    let lately = [
        format!("last second: half waited {}", wait(row, 0.5)),
        format!("99 of 100 {}", wait(row, 0.99)),
        format!("all {} at most", wait(row, 1.0)),
    ];
    let lines = [ever, lately].map(|parts| Line::from(fit(&parts, ", ", inner.width)));
    frame.render_widget(Paragraph::new(lines.to_vec()), text);
    let width = usize::from(graph.width);
    let skip = row.history.len().saturating_sub(width);
    let data: Vec<u64> = row.history.iter().skip(skip).copied().collect();
    let most = data.iter().copied().max().unwrap_or(0);
    let title = [
        format!("tasks/s, a bar for each {PERIOD:?}"),
        format!("highest bar {}", short(most as f64)),
    ];
    let title = Line::from(fit(&title, ", ", caption.width));
    frame.render_widget(title.bold(), caption);
    frame.render_widget(Sparkline::default().data(data), graph);
}

/// Formats a number in at most six characters.
pub(crate) fn short(n: f64) -> String {
    match n {
        n if n < 10_000.0 => format!("{n:.0}"),
        n if n < 1e5 => format!("{:.1}k", n / 1e3),
        n if n < 1e6 => format!("{:.0}k", n / 1e3),
        n if n < 1e8 => format!("{:.1}M", n / 1e6),
        n if n < 1e9 => format!("{:.0}M", n / 1e6),
        n => format!("{:.0}G", n / 1e9),
    }
}

/// Returns the longest recent wait of this part of the tasks.
fn wait(row: &Row, part: f64) -> String {
    row.waits.quantile(part).map_or("-".to_owned(), time)
}

/// Formats a time in at most six characters.
pub(crate) fn time(time: Duration) -> String {
    let nanos = time.as_nanos() as f64;
    let (value, unit) = match nanos {
        0.0 => return "0".to_owned(),
        n if n < 1e3 => return format!("{n}ns"),
        n if n < 1e6 => (n / 1e3, "µs"),
        n if n < 1e9 => (n / 1e6, "ms"),
        n => (n / 1e9, "s"),
    };
    let digits = usize::from(value < 10.0);
    format!("{value:.digits$}{unit}")
}
