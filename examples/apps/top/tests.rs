//! The contents of the screen at every size.

use super::*;
use crate::model::Row;
use ratatui::Terminal;
use ratatui::backend::TestBackend;

const SIZES: [(u16, u16); 4] = [(1, 1), (20, 5), (60, 15), (200, 60)];

fn draw(model: &Model, load: &Load, size: (u16, u16), selected: usize) -> String {
    redraw(
        model,
        load,
        size,
        &mut TableState::new().with_selected(selected),
    )
}

fn redraw(
    model: &Model,
    load: &Load,
    (width, height): (u16, u16),
    selected: &mut TableState,
) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let draw = |frame: &mut ratatui::Frame<'_>| view::draw(frame, model, &load.knobs, selected);
    terminal.draw(draw).unwrap();
    terminal.backend().to_string()
}

/// Draws a screen of a real load.
fn screen(size: (u16, u16), selected: usize) -> String {
    let scheduler = Scheduler::builder().build().unwrap();
    let load = Load::start(&scheduler).unwrap();
    let mut model = Model::new();
    for _ in 0..3 {
        model.look(&scheduler);
        std::thread::sleep(Duration::from_millis(30));
    }
    let screen = draw(&model, &load, size, selected);
    load.stop();
    screen
}

#[track_caller]
fn assert_shows(screen: &str, texts: &[&str]) {
    for text in texts {
        assert!(screen.contains(text), "no {text}:\n{screen}");
    }
}

#[test]
fn all_of_it_fits_into_80_columns_and_24_lines() {
    let screen = screen((80, 24), 1);
    assert_shows(&screen, &["sessions", "audit", "OUTST.", "LENT%", "LATELY"]);
    assert_shows(
        &screen,
        &["dispatched", "2 of 8", "since start: ", "last second: half"],
    );
    assert_shows(&screen, &["q quit (Esc)", "p pause", "red = refuses tasks"]);
    assert_shows(&screen, &["LENT% = ", "dispatched = ", "WAIT99 = "]);
    assert_shows(&screen, &["tasks/s, a bar for each 250ms, highest bar "]);
}

#[test]
fn on_a_small_screen_what_matters_is_there() {
    let screen = screen((60, 15), 7);
    assert_shows(&screen, &["OUTST.", "TASKS/S", "WAIT99", "REFUSED"]);
    assert_shows(&screen, &["q quit (Esc)", "OUTST. = queued + running"]);
    assert_shows(&screen, &["tasks/s", "workers", "since start: "]);
}

#[test]
fn the_table_is_scrolled_to_the_selection() {
    for height in 3..24 {
        for selected in [0, 3, 7] {
            let (model, load) = (model(8), idle());
            let screen = draw(&model, &load, (80, height), selected);
            load.stop();
            assert_shows(&screen, &[&format!("name{selected} ")]);
        }
    }
}

#[test]
fn all_rows_are_back_when_there_is_room_for_them() {
    let (model, load) = (model(8), idle());
    let mut selected = TableState::new().with_selected(7);
    let small = redraw(&model, &load, (60, 15), &mut selected);
    assert!(!small.contains("name0"), "{small}");
    let large = redraw(&model, &load, (80, 24), &mut selected);
    load.stop();
    assert_shows(&large, &["name0 ", "name7 "]);
}

#[test]
fn a_terminal_of_any_size_will_do() {
    for size in SIZES {
        screen(size, 1);
    }
}

/// Makes a model of this many resources, with figures of the greatest width.
fn model(rows: usize) -> Model {
    let mut model = Model::new();
    model.rows = (0..rows).map(|at| row(format!("name{at}"))).collect();
    model
}

fn row(name: String) -> Row {
    let mut row = Row {
        name,
        rate: 99_951.0,
        refused: 12_345.0,
        expired: 23_456.0,
        handoffs: 34_567.0,
        lent: 16.0,
        ..Row::default()
    };
    row.stats.outstanding = 45_678;
    row
}

/// Makes a load that does nothing.
fn idle() -> Load {
    let load = Load::start(&Scheduler::builder().build().unwrap()).unwrap();
    load.knobs.paused.store(true, Relaxed);
    load
}

#[test]
fn columns_are_left_out_whole() {
    let (model, load) = (model(1), idle());
    let all = view::columns(u16::MAX);
    let whole = [view::heads(&all), view::cells(&model.rows[0], &all)].concat();
    for width in 9..120 {
        let screen = draw(&model, &load, (width, 3), 0);
        let (table, keys) = screen.trim_end().rsplit_once('\n').unwrap();
        for word in table.split(['"', ' ', '\n']).filter(|w| !w.is_empty()) {
            let known = word == "LATELY" || whole.iter().any(|cell| cell.trim() == word);
            assert!(known, "{word} is cut at {width}:\n{screen}");
        }
        let keys = keys.trim_matches(['"', ' ']).split("  ");
        let known = view::KEYS
            .iter()
            .zip(keys)
            .all(|(key, shown)| [key, ""].contains(&shown));
        assert!(known, "a key is cut at {width}:\n{screen}");
    }
    load.stop();
}

#[test]
fn the_more_important_columns_are_left() {
    let heads = |width| {
        view::columns(width)
            .iter()
            .map(|c| c.head)
            .collect::<Vec<_>>()
    };
    assert_eq!(heads(10), [""; 0]);
    assert_eq!(heads(30), ["OUTST.", "TASKS/S"]);
    assert_eq!(
        heads(40),
        ["OUTST.", "TASKS/S", "REFUSED", "WAIT99"][..].to_vec()
    );
    assert_eq!(heads(80).len(), 7);
}

#[test]
fn figures_take_six_characters_at_most() {
    for power in 0..12 {
        for part in [0.999_999, 1.0, 2.5] {
            let n = part * 10_f64.powi(power);
            let time = view::time(Duration::from_nanos(n as u64));
            for figure in [view::short(n), time] {
                assert!(figure.chars().count() <= 6, "{figure} of {n}");
            }
        }
    }
}

#[test]
fn waits_are_those_of_the_last_second() {
    let scheduler = Scheduler::builder().workers(1).build().unwrap();
    let r = captor::Resource::builder().name("r").scheduler(&scheduler);
    let r = r.timings(true).build(()).unwrap();
    let mut model = Model::new();
    let mut look = || {
        model.look(&scheduler);
        model.rows[0].waits.count()
    };
    r.with(|()| ()).unwrap();
    assert_eq!(look(), 0, "of what was before nothing can be said");
    for n in 1..=model::INTERVALS as u64 {
        r.with(|()| ()).unwrap();
        assert_eq!(look(), n);
    }
    assert_eq!(look(), model::INTERVALS as u64 - 1);
}

#[test]
fn text_has_what_the_screen_shows() {
    let scheduler = Scheduler::builder().build().unwrap();
    let load = Load::start(&scheduler).unwrap();
    let mut text = Vec::new();
    plain(&mut text, &scheduler, 1).unwrap();
    load.stop();
    let text = String::from_utf8(text).unwrap();
    assert_shows(
        &text,
        &["tasks/s", "HANDOFF", "OUTST.", "payments", "retained"],
    );
    assert!(
        text.lines().all(|line| line.chars().count() <= 80),
        "{text}"
    );
}

#[test]
fn arguments_say_what_to_do() {
    let parse = |args: &str, terminal| {
        let args: Vec<_> = args.split_whitespace().map(str::to_owned).collect();
        args::parse(&args, terminal)
    };
    assert_eq!(parse("", true), Ok(Mode::Screen));
    assert_eq!(parse("", false), Ok(Mode::Plain(3)));
    assert_eq!(parse("--plain", true), Ok(Mode::Plain(3)));
    assert_eq!(parse("--plain 5", true), Ok(Mode::Plain(5)));
    for help in ["-h", "--help", "--plain --help", "--plain 5 -h"] {
        assert_eq!(parse(help, true), Ok(Mode::Help), "{help}");
    }
    for wrong in [
        "--plain 0",
        "--plain x",
        "--plain -1",
        "-x",
        "--plain 5 6",
        "5",
    ] {
        let error = parse(wrong, true).unwrap_err();
        let word = wrong.split_whitespace().next_back().unwrap();
        assert!(
            error.contains(word) && error.lines().count() == 1,
            "{error}"
        );
    }
}

#[test]
fn a_reader_that_has_enough_is_no_error() {
    let boxed = |kind| Box::<dyn Error>::from(io::Error::from(kind));
    assert!(is_broken_pipe(&*boxed(ErrorKind::BrokenPipe)));
    assert!(!is_broken_pipe(&*boxed(ErrorKind::StorageFull)));
    assert!(!is_broken_pipe(&*Box::<dyn Error>::from("another")));
}

#[cfg(unix)]
#[test]
fn a_signal_is_noted_and_ends_nothing() {
    let signals = signals::Quit::new().unwrap();
    assert!(!signals.came());
    signal_hook::low_level::raise(signal_hook::consts::SIGTERM).unwrap();
    assert!(signals.came());
}
