//! How it is drawn; 80 columns and 24 lines are enough.

use crate::load::Knobs;
use crate::model::{Model, Row};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph, Sparkline, Table};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

const KEYS: &str = "+/- producers  f/s faster/slower  b bursts  p pause  j/k select  q quit";

const COLUMNS: [(&str, u16); 9] = [
    ("RESOURCE", 9),
    ("QUEUED", 6),
    ("TASKS/S", 7),
    ("REFUSED", 7),
    ("EXPIRED", 7),
    ("HANDOFF", 7),
    ("LENT%", 5),
    ("WAIT99", 6),
    ("LATELY", 0),
];

pub(crate) fn draw(frame: &mut Frame<'_>, model: &Model, knobs: &Knobs, selected: usize) {
    let rows = u16::try_from(model.rows.len()).unwrap_or(u16::MAX);
    let [head, table, detail, foot] = Layout::vertical([
        Constraint::Length(3),
        Constraint::Length(rows.saturating_add(1)),
        Constraint::Min(4),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(header(model, knobs), head);
    draw_table(frame, model, selected, table);
    if let Some(row) = model.rows.get(selected) {
        draw_detail(frame, row, detail);
    }
    frame.render_widget(Paragraph::new(KEYS).dim(), foot);
}

fn header(model: &Model, knobs: &Knobs) -> Paragraph<'static> {
    let scheduler = &model.scheduler;
    let state = match (knobs.paused.load(Relaxed), knobs.bursts.load(Relaxed)) {
        (true, _) => "paused",
        (false, true) => "in bursts",
        (false, false) => "steady",
    };
    Paragraph::new(vec![
        Line::from(vec![
            Span::from("captor ").bold(),
            Span::from(format!(
                "{} tasks/s, {} queued; {} producers ({state}), tasks of {} µs",
                short(model.sum(|row| row.rate)),
                short(model.sum(|row| row.depth as f64)),
                knobs.producers.load(Relaxed),
                knobs.task.load(Relaxed),
            )),
        ]),
        Line::from(format!(
            "workers {}, threads {} ({} idle), dispatched {}, lent {:.0} % of a core",
            scheduler.workers,
            scheduler.threads,
            scheduler.idle,
            short(scheduler.dispatched as f64),
            100.0 * model.sum(|row| row.lent),
        )),
    ])
}

fn draw_table(frame: &mut Frame<'_>, model: &Model, selected: usize, area: Rect) {
    let fixed: u16 = COLUMNS.iter().map(|(_, width)| width + 1).sum();
    let lately = usize::from(area.width.saturating_sub(fixed));
    let widths = COLUMNS.map(|(_, width)| match width {
        0 => Constraint::Min(1),
        width => Constraint::Length(width),
    });
    let right = |text: String, at: usize| format!("{text:>0$}", usize::from(COLUMNS[at].1));
    let heads = (0..COLUMNS.len()).map(|at| match at {
        0 | 8 => COLUMNS[at].0.to_owned(),
        _ => right(COLUMNS[at].0.to_owned(), at),
    });
    let rows = model.rows.iter().enumerate().map(|(at, row)| {
        let cells = [
            row.name.chars().take(9).collect(),
            right(short(row.depth as f64), 1),
            right(short(row.rate), 2),
            right(short(row.refused), 3),
            right(short(row.expired), 4),
            right(short(row.handoffs), 5),
            right(format!("{:.0}", 100.0 * row.lent), 6),
            right(time(row.long_wait), 7),
            spark(row, lately),
        ];
        let style = match at == selected {
            true => Style::new().reversed(),
            false if row.refused > 0.0 => Style::new().fg(Color::Red),
            false => Style::new(),
        };
        ratatui::widgets::Row::new(cells).style(style)
    });
    let heads = ratatui::widgets::Row::new(heads).style(Style::new().bold());
    frame.render_widget(Table::new(rows, widths).header(heads), area);
}

/// The latest rates, as many as there is room for.
fn spark(row: &Row, width: usize) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let most = row.history.iter().copied().max().unwrap_or(0).max(1);
    let skip = row.history.len().saturating_sub(width);
    let bar = |n: &u64| BARS[(n * 7 / most) as usize];
    row.history.iter().skip(skip).map(bar).collect()
}

fn draw_detail(frame: &mut Frame<'_>, row: &Row, area: Rect) {
    let block = Block::bordered().title(format!(" {} ", row.name));
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let [text, graph] = Layout::vertical([Constraint::Length(2), Constraint::Min(1)]).areas(inner);
    let lines = vec![
        Line::from(format!(
            "{} tasks so far, {} queued at most, the longest ran {}",
            short(row.completed as f64),
            short(row.max_depth as f64),
            time(row.longest),
        )),
        Line::from(format!(
            "half waited {} at most, 99 of 100 {}; tasks per second:",
            time(row.median_wait),
            time(row.long_wait),
        )),
    ];
    frame.render_widget(Paragraph::new(lines), text);
    let width = usize::from(graph.width);
    let skip = row.history.len().saturating_sub(width);
    let data: Vec<u64> = row.history.iter().skip(skip).copied().collect();
    frame.render_widget(Sparkline::default().data(data), graph);
}

/// A number in six characters at most.
pub(crate) fn short(n: f64) -> String {
    match n {
        n if n < 10_000.0 => format!("{n:.0}"),
        n if n < 1e6 => format!("{:.1}k", n / 1e3),
        n if n < 1e9 => format!("{:.1}M", n / 1e6),
        n => format!("{:.1}G", n / 1e9),
    }
}

/// A time in six characters at most.
pub(crate) fn time(time: Duration) -> String {
    match time.as_nanos() {
        0 => "0".to_owned(),
        n if n < 1_000 => format!("{n}ns"),
        n if n < 1_000_000 => format!("{}µs", n / 1_000),
        n if n < 1_000_000_000 => format!("{}ms", n / 1_000_000),
        n => format!("{}s", n / 1_000_000_000),
    }
}
