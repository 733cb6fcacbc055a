//! How `herm top` looks. Colour is never the only carrier of a meaning: every state has its word.

use std::time::SystemTime;

use herm_wire::{Kind, ServiceView, State};
use ratatui::Frame;
use ratatui::layout::{Constraint, Flex, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Clear, Paragraph, Row, Table, TableState};

use super::model::{Mode, Model};
use crate::output::{Tone, cause, coming, plain, tone_of, uptime, verdict_now};

pub(super) use crate::output::word;

const KEYS: &[(&str, &str)] = &[
    ("↑ ↓ j k Home End", "choose a service"),
    ("s", "start it"),
    ("x", "stop it (asks first)"),
    ("r", "restart it"),
    ("/", "filter by name, state or reason; Esc clears"),
    ("o", "order by trouble, name, memory, processor, restarts"),
    ("PgUp PgDn", "scroll its log; Esc goes back to the end"),
    ("?", "this help"),
    ("q Ctrl-C", "leave"),
];

/// Draws everything.
pub(super) fn draw(frame: &mut Frame<'_>, model: &Model, now: SystemTime) {
    let rows = u16::try_from(model.rows().len() + 1).unwrap_or(u16::MAX);
    let half = frame.area().height.saturating_sub(3) / 2;
    let parts = [
        Constraint::Length(2),
        Constraint::Length(rows.min(half.max(3))),
        Constraint::Min(3),
        Constraint::Length(1),
    ];
    let [head, tree, log, foot] = Layout::vertical(parts).areas(frame.area());
    draw_head(frame, head, model, now);
    draw_tree(frame, tree, model, now);
    draw_log(frame, log, model);
    draw_foot(frame, foot, model);
    if model.mode == Mode::Help {
        draw_help(frame);
    }
}

fn draw_head(frame: &mut Frame<'_>, area: Rect, model: &Model, now: SystemTime) {
    let services = model.services();
    let first =
        Line::from(verdict_now(&services, now)).style(Style::new().add_modifier(Modifier::BOLD));
    let second = match (&model.lost, &model.notice) {
        (Some(lost), _) => Line::styled(lost.as_str(), style(Tone::Bad)),
        (None, Some(notice)) => Line::styled(plain(notice), style(Tone::Busy)),
        (None, None) => Line::styled(
            format!(
                "{} services, ordered by {}",
                services.len(),
                model.sort.word()
            ),
            style(Tone::Dim),
        ),
    };
    frame.render_widget(Paragraph::new(vec![first, second]), area);
}

/// A column of the tree.
struct Column {
    title: &'static str,
    width: Constraint,
    /// Left out where the terminal is narrower.
    from_width: u16,
    cell: fn(&ServiceView, SystemTime) -> Span<'_>,
}

const COLUMNS: &[Column] = &[
    column("STATE", Constraint::Length(9), 0, |service, _| {
        Span::styled(word(service.state), style(tone_of(service.state)))
    }),
    column("UP", Constraint::Length(10), 50, |service, _| {
        Span::raw(uptime(service))
    }),
    column("CPU %", Constraint::Length(5), 100, |service, _| {
        Span::raw(
            service
                .cpu_percent
                .map_or_else(dash, |share| format!("{share:.1}")),
        )
    }),
    column("MEMORY", Constraint::Length(7), 100, |service, _| {
        Span::raw(service.memory_bytes.map_or_else(dash, bytes))
    }),
    column("PORT", Constraint::Length(5), 60, |service, _| {
        Span::raw(service.port.map_or_else(dash, |port| port.to_string()))
    }),
    column("RESTARTS", Constraint::Length(8), 90, |service, _| {
        Span::raw(service.restarts.to_string())
    }),
    column(
        "WHY AND WHAT NEXT",
        Constraint::Min(10),
        0,
        |service, now| Span::styled(why(service, now), style(Tone::Dim)),
    ),
];

const fn column(
    title: &'static str,
    width: Constraint,
    from_width: u16,
    cell: fn(&ServiceView, SystemTime) -> Span<'_>,
) -> Column {
    Column {
        title,
        width,
        from_width,
        cell,
    }
}

fn dash() -> String {
    "-".to_owned()
}

fn draw_tree(frame: &mut Frame<'_>, area: Rect, model: &Model, now: SystemTime) {
    let rows = model.rows();
    let longest = rows
        .iter()
        .map(|row| row.name.chars().count())
        .max()
        .unwrap_or(4);
    let name_width = Constraint::Length(u16::try_from(longest).unwrap_or(40).clamp(4, 40));
    let shown = || {
        COLUMNS
            .iter()
            .filter(|column| column.from_width <= area.width)
    };
    let widths = std::iter::once(name_width).chain(shown().map(|column| column.width));
    let titles = std::iter::once("NAME").chain(shown().map(|column| column.title));
    let row = |service| {
        let cells = shown().map(move |column| (column.cell)(service, now));
        Row::new(std::iter::once(name(service)).chain(cells))
    };
    let table = Table::new(rows.into_iter().map(row), widths)
        .header(Row::new(titles).style(style(Tone::Dim)))
        .column_spacing(2)
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let mut state = TableState::new().with_selected(model.position());
    frame.render_stateful_widget(table, area, &mut state);
}

fn name(service: &ServiceView) -> Span<'_> {
    let helper = service.kind == Kind::Helper;
    Span::styled(
        service.name.as_str(),
        if helper {
            style(Tone::Dim)
        } else {
            Style::new()
        },
    )
}

fn why(service: &ServiceView, now: SystemTime) -> String {
    let settled = service.state == State::Running && service.health.as_deref() != Some("unhealthy");
    let mut words = Vec::new();
    if service.health.as_deref() == Some("unhealthy") {
        words.push("unhealthy".to_owned());
    }
    if !settled && !service.reason.is_empty() {
        words.push(cause(&service.reason));
    }
    words.extend(service.next.as_ref().map(|next| coming(next, now)));
    plain(&words.join("; "))
}

fn draw_log(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let title = match model.selected() {
        Some(service) if service.log_dir.is_none() => {
            format!(" {}: its output is not kept, only forwarded ", service.name)
        }
        Some(service) if model.back > 0 => {
            format!(" {} ({} lines back) ", service.name, model.back)
        }
        Some(service) => format!(" {} ", service.name),
        None => " nothing is chosen ".to_owned(),
    };
    let block = Block::bordered()
        .border_type(BorderType::Rounded)
        .title(title)
        .border_style(style(Tone::Dim));
    let height = usize::from(block.inner(area).height);
    let end = model
        .log
        .len()
        .saturating_sub(model.back)
        .max(height.min(model.log.len()));
    let shown = model
        .log
        .get(end.saturating_sub(height)..end)
        .unwrap_or_default();
    let lines: Vec<Line<'_>> = shown
        .iter()
        .map(|line| Line::styled(plain(line), level(line)))
        .collect();
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

fn draw_foot(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let text = match &model.mode {
        Mode::Filter => format!("filter: {}▏ (Enter keeps it, Esc clears it)", model.filter),
        Mode::ConfirmStop(name) => format!("stop {name}? y stops it, any other key doesn't"),
        Mode::Tree | Mode::Help if !model.filter.is_empty() => {
            format!(
                "filter: {}  (Esc clears it)   ? help   q leave",
                model.filter
            )
        }
        Mode::Tree | Mode::Help => {
            "s start   x stop   r restart   / filter   o order   ? help   q leave".to_owned()
        }
    };
    frame.render_widget(Paragraph::new(text).style(style(Tone::Dim)), area);
}

fn draw_help(frame: &mut Frame<'_>) {
    let height = u16::try_from(KEYS.len() + 2).unwrap_or(12);
    let [area] = Layout::horizontal([Constraint::Max(76)])
        .flex(Flex::Center)
        .areas(frame.area());
    let [area] = Layout::vertical([Constraint::Max(height)])
        .flex(Flex::Center)
        .areas(area);
    let line = |(keys, what): &(&'static str, &'static str)| {
        Line::from(vec![
            Span::styled(format!(" {keys:<18}"), style(Tone::Good)),
            Span::raw(*what),
        ])
    };
    let lines: Vec<Line<'_>> = KEYS.iter().map(line).collect();
    let block = Block::bordered()
        .border_type(BorderType::Rounded)
        .title(" keys; any key goes back ");
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

fn style(tone: Tone) -> Style {
    match tone {
        Tone::Plain => Style::new(),
        Tone::Bold => Style::new().add_modifier(Modifier::BOLD),
        Tone::Dim => Style::new().fg(Color::DarkGray),
        Tone::Good => Style::new().fg(Color::Green),
        Tone::Busy => Style::new().fg(Color::Yellow),
        Tone::Bad => Style::new().fg(Color::Red),
    }
}

/// A guess from the words that loggers use; it only colours.
fn level(line: &str) -> Style {
    style(crate::output::level_of(line))
}

/// `512 KB`, `38 MB`, `1.2 GB`.
fn bytes(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{} KB", bytes / 1000),
        1_000_000..1_000_000_000 => format!("{} MB", bytes / 1_000_000),
        _ => format!(
            "{}.{} GB",
            bytes / 1_000_000_000,
            bytes % 1_000_000_000 / 100_000_000
        ),
    }
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::super::model::tests::model;
    use super::*;

    fn screen(model: &Model, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        let now = herm_home::clock::parse("2026-11-20T20:31:10Z").unwrap();
        terminal.draw(|frame| draw(frame, model, now)).unwrap();
        let buffer = terminal.backend().buffer();
        let row = |y| {
            (0..width)
                .map(|x| buffer[(x, y)].symbol())
                .collect::<String>()
        };
        (0..height).map(row).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_answer_comes_first_then_the_tree_then_the_log() {
        let mut model = model();
        model.append_log(["2026-11-20T20:30:10Z ERROR no token".to_owned()]);
        let screen = screen(&model, 120, 24);
        let lines: Vec<&str> = screen.lines().collect();
        assert!(
            lines[0]
                .starts_with("1 of 2 gateways running; gateway-writer parked 60 s ago: exit 78"),
            "{screen}"
        );
        assert!(
            lines[3].contains("gateway-writer") && lines[3].contains("exit 78, bad configuration"),
            "{screen}"
        );
        assert!(screen.contains("ERROR no token"), "{screen}");
    }

    #[test]
    fn every_size_of_a_terminal_can_be_drawn() {
        let mut model = model();
        for mode in [
            Mode::Tree,
            Mode::Help,
            Mode::Filter,
            Mode::ConfirmStop("x".into()),
        ] {
            model.mode = mode;
            for (width, height) in [(1, 1), (3, 2), (20, 5), (80, 24), (300, 100)] {
                screen(&model, width, height);
            }
        }
    }

    #[test]
    fn what_a_service_writes_can_not_steer_the_terminal() {
        let mut model = model();
        model.append_log(["\x1b[2J\x1b]0;title\x07 hidden\u{202e}".to_owned()]);
        let screen = screen(&model, 100, 20);
        assert!(
            !screen.contains('\x1b') && !screen.contains('\x07') && !screen.contains('\u{202e}')
        );
    }

    #[test]
    fn help_names_every_key() {
        let mut model = model();
        model.mode = Mode::Help;
        let screen = screen(&model, 100, 24);
        for (keys, what) in KEYS {
            assert!(
                screen.contains(keys) && screen.contains(what),
                "{keys}: {screen}"
            );
        }
    }
}
